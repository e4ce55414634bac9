"""Weights of torchreid's HA-CNN as the variables of our `hacnn` network.

torchreid (Zhou and Xiang, arXiv 1910.10093) publishes the PyTorch re-implementation of HA-CNN (Li, Zhu, Gong,
CVPR 2018) under the name `hacnn`; this module knows its parameter names and shapes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reid_jax.convert.tensors import Origin, Pairs, conv_norm, fill, linear, norm
from reid_jax.models.registry import create_network

_NAME = "torchreid's hacnn"


def convert_hacnn(
    state_dict: Mapping[str, np.ndarray], *, crop_align_corners: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turns a state dict of torchreid's `hacnn` into our network's configuration and variables.

    The descriptor is the same up to its norm: √2 in torchreid, 1 here. BatchNorm's running variances are taken
    over as they are, so that inference agrees; PyTorch's are unbiased, those of further training here are biased.
    In training torchreid normalises each region of the local stream by its own batch statistics, this library the
    four together.

    Args:
      state_dict: name -> array, as `torch_file.read_state_dict` returns it. The classifiers may be absent.
      crop_align_corners: the grid on which the regions are sampled. True for weights trained before PyTorch 1.3,
        as the published ones were; False for later ones, since grid_sample's default changed.

    Returns:
      The arguments of `create_network` (identities 0 without classifiers), and {'params', 'batch_stats'} as
      nested dictionaries of float32 arrays.

    Raises:
      InputError: names are missing or unknown, shapes do not fit together, a tensor is not of floating point, or has
        numbers that are not finite in float32 or, as a variance, below 0.
    """
    origin = Origin(_NAME, state_dict)
    config = _fields_of(origin) | {"crop_align_corners": crop_align_corners}
    # Without a local stream torchreid keeps these layers without using them.
    ignored = [] if config["regions"] else [name for name in state_dict if ".hard_attn." in name]
    return config, fill(origin, _pairs(config), create_network(**config), ignored)


def _fields_of(origin: Origin) -> dict[str, Any]:
    """The network's fields, read off the shapes of the tensors that decide them."""
    regions = any(name.startswith(("local_conv", "fc_local")) for name in origin.state_dict)
    stages = [f"ha{level}.soft_attn.conv.conv.weight" for level in (1, 2, 3)]
    names = ["conv.conv.weight", *stages, "fc_global.0.weight"] + ["fc_local.0.weight"] * regions
    origin.require_there(names)
    classifier = "classifier_global.weight"
    names += [classifier] * (classifier in origin.state_dict)
    channels = dict(zip(names, origin.channels(names), strict=True))
    return {
        "name": "hacnn",
        "identities": channels.get(classifier, 0),
        "stem": channels["conv.conv.weight"],
        "widths": tuple(origin.channels(stages, multiple=16)),
        "global_width": channels["fc_global.0.weight"],
        "local_width": channels["fc_local.0.weight" if regions else "fc_global.0.weight"],
        "regions": regions,
    }


def _pairs(config: Mapping[str, Any]) -> Pairs:
    """Every pair (torchreid's tensor, our variable's path); a path given several times takes them side by side."""
    yield from _conv_norm("conv", "conv1")
    for level in (1, 2, 3):
        yield from _inception_a(f"inception{level}.0", f"stage{level}/a")
        yield from _inception_b(f"inception{level}.1", f"stage{level}/b")
        theirs, ours = f"ha{level}.soft_attn", f"attention{level}/soft"
        yield from _conv_norm(f"{theirs}.spatial_attn.conv1", f"{ours}/spatial_conv")
        yield from _conv_norm(f"{theirs}.spatial_attn.conv2", f"{ours}/spatial_scale")
        yield from _conv_norm(f"{theirs}.channel_attn.conv1", f"{ours}/channel_reduce")
        yield from _conv_norm(f"{theirs}.channel_attn.conv2", f"{ours}/channel_expand")
        yield from _conv_norm(f"{theirs}.conv", f"{ours}/combine")
        if config["regions"]:
            yield from linear(f"ha{level}.hard_attn.fc", f"attention{level}/hard/linear")
            yield from _inception_b(f"local_conv{level}", f"local{level}")
    for stream in ("global", "local") if config["regions"] else ("global",):
        yield from linear(f"fc_{stream}.0", f"fc_{stream}/linear")
        yield from norm(f"fc_{stream}.1", f"fc_{stream}/norm")
        if config["identities"]:
            yield from linear(f"classifier_{stream}", f"classifier_{stream}")


def _inception_a(theirs: str, ours: str) -> Pairs:
    for stream in (1, 2, 3):
        yield from _conv_norm(f"{theirs}.stream{stream}.0", f"{ours}/reduce")
        yield from _conv_norm(f"{theirs}.stream{stream}.1", f"{ours}/stream{stream}")
    yield from _conv_norm(f"{theirs}.stream4.1", f"{ours}/stream4")  # in place 0 it pools


def _inception_b(theirs: str, ours: str) -> Pairs:
    for stream in (1, 2):
        yield from _conv_norm(f"{theirs}.stream{stream}.0", f"{ours}/reduce")
    yield from _conv_norm(f"{theirs}.stream1.1", f"{ours}/stream1")
    yield from _conv_norm(f"{theirs}.stream2.1", f"{ours}/stream2_first")
    yield from _conv_norm(f"{theirs}.stream2.2", f"{ours}/stream2")
    yield from _conv_norm(f"{theirs}.stream3.1", f"{ours}/stream3")  # in place 0 it pools


def _conv_norm(theirs: str, ours: str) -> Pairs:
    return conv_norm(theirs, ours, bias=True)
