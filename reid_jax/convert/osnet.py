"""Weights of torchreid's OSNet as the variables of ours.

torchreid (Zhou and Xiang, arXiv 1910.10093) publishes OSNet (Zhou et al., ICCV 2019) under the names `osnet_x1_0`,
`osnet_x0_75`, `osnet_x0_5` and `osnet_x0_25`; this module knows their parameter names and shapes.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from reid_jax.convert.tensors import Origin, Pairs, conv_norm, fill, linear, norm
from reid_jax.models.osnet import OSNet
from reid_jax.models.registry import create_network

_NAME = "torchreid's osnet"
_STAGES = (1, 2, 3)


def convert_osnet(state_dict: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turns a state dict of one of torchreid's `osnet_x...` into our network's configuration and variables.

    The descriptor is torchreid's vector, scaled to unit norm. The variants with instance normalisation (`osnet_ibn`,
    `osnet_ain`) are other networks. What is taken over how, see `tensors.fill`.

    Args:
      state_dict: name -> array, as `torch_file.read_state_dict` returns it. The classifier may be absent.

    Returns:
      The arguments of `create_network` (identities 0 without classifier; the name of the preset with these widths,
      'osnet_x1_0' where none has them), and {'params', 'batch_stats'} as nested dictionaries of float32 arrays.

    Raises:
      InputError: as `tensors.fill`.
    """
    origin = Origin(_NAME, state_dict)
    config = _fields_of(origin)
    return config, fill(origin, _pairs(config), create_network(**config))


def _fields_of(origin: Origin) -> dict[str, Any]:
    """The network's fields, read off the shapes of the tensors that decide them, and off which blocks there are."""
    repeats = tuple(max(1, _blocks(origin.state_dict, level)) for level in _STAGES)
    stem, global_width = origin.channels(["conv1.conv.weight", "fc.0.weight"])
    widths = tuple(origin.channels([f"{_stage(level)}.0.conv3.conv.weight" for level in _STAGES], multiple=4))
    classifier = [name for name in ("classifier.weight",) if name in origin.state_dict]
    fields = {"stem": stem, "widths": widths}
    named = [name for name, preset in OSNet.PRESETS.items() if fields == _widths_of(preset)]
    return {
        "name": named[0] if named else "osnet_x1_0",
        "identities": sum(origin.channels(classifier)),
        **fields,
        "repeats": repeats,
        "global_width": global_width,
    }


def _widths_of(preset: Mapping[str, Any]) -> dict[str, Any]:
    return {"stem": preset.get("stem", OSNet.stem), "widths": preset.get("widths", OSNet.widths)}


def _blocks(state_dict: Mapping[str, np.ndarray], level: int) -> int:
    """How many blocks a stage has: one after another, from the first."""
    numbers = itertools.count()
    there = itertools.takewhile(lambda number: f"{_stage(level)}.{number}.conv3.conv.weight" in state_dict, numbers)
    return sum(1 for _ in there)


def _stage(level: int) -> str:
    return f"conv{level + 1}"  # their conv1 comes before the first


def _pairs(config: Mapping[str, Any]) -> Pairs:
    """Every pair (torchreid's tensor, our variable's path)."""
    yield from conv_norm("conv1", "conv1")
    inputs = config["stem"]
    for level, (features, repeats) in enumerate(zip(config["widths"], config["repeats"], strict=True), 1):
        for number in range(repeats):
            yield from _block(f"{_stage(level)}.{number}", f"stage{level}/block{number + 1}", inputs != features)
            inputs = features
        if level < len(config["widths"]):
            yield from conv_norm(f"{_stage(level)}.{repeats}.0", f"stage{level}/transition")
    yield from conv_norm("conv5", "conv5")
    yield from linear("fc.0", "fc_global/linear")
    yield from norm("fc.1", "fc_global/norm")
    if config["identities"]:
        yield from linear("classifier", "classifier_global")


def _block(theirs: str, ours: str, widens: bool) -> Pairs:
    yield from conv_norm(f"{theirs}.conv1", f"{ours}/reduce")
    for scale, letter in enumerate("abcd", 1):
        for layer in range(scale):
            # A stream of one layer is the layer itself, one of several numbers them.
            lite = f"{theirs}.conv2{letter}" + (f".{layer}" if scale > 1 else "")
            path = f"{ours}/stream{scale}_lite{layer + 1}"
            yield f"{lite}.conv1.weight", f"params/{path}/pointwise/kernel"
            yield f"{lite}.conv2.weight", f"params/{path}/depthwise/kernel"
            yield from norm(f"{lite}.bn", f"{path}/depthwise/norm")
    yield from linear(f"{theirs}.gate.fc1", f"{ours}/gate/reduce")
    yield from linear(f"{theirs}.gate.fc2", f"{ours}/gate/expand")
    yield from conv_norm(f"{theirs}.conv3", f"{ours}/expand")
    if widens:
        yield from conv_norm(f"{theirs}.downsample", f"{ours}/shortcut")
