"""Weights of torchreid's HA-CNN as the variables of our `hacnn` network.

torchreid (Zhou and Xiang, arXiv 1910.10093) publishes the PyTorch re-implementation of HA-CNN (Li, Zhu, Gong,
CVPR 2018) under the name `hacnn`; this module knows its parameter names and shapes.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reid_jax.errors import InputError, first_few
from reid_jax.models.registry import create_network
from reid_jax.models.variables import require_sound

_FLOATS = ("float16", "bfloat16", "float32", "float64")


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
    config = _describe(state_dict) | {"crop_align_corners": crop_align_corners}
    targets = dict(_tensors(config))
    sources = collections.defaultdict(list)
    for name, path in targets.items():
        sources[path].append(name)
    shapes = _shapes(config)

    ignored = {name for name in state_dict if name.endswith(".num_batches_tracked")}
    if not config["regions"]:  # torchreid keeps these layers without using them
        ignored |= {name for name in state_dict if ".hard_attn." in name}
    _require_there(state_dict, targets)
    _require_none("tensors are unknown", [name for name in state_dict if name not in {*targets, *ignored}])
    arrays = {name: _channels_last(state_dict[name]) for name in targets}
    needed = {name: (*shapes[path][:-1], shapes[path][-1] // len(sources[path])) for name, path in targets.items()}
    wrong = [
        f"{name} {state_dict[name].shape} becomes {arrays[name].shape} where {needed[name]} is needed"
        for name in targets
        if arrays[name].shape != needed[name]
    ]
    _require_none("shapes are wrong", wrong)
    types = {name: array.dtype for name, array in arrays.items()}
    _require_none("tensors are not of floating point", [f"{n} {t}" for n, t in types.items() if t.name not in _FLOATS])
    with np.errstate(over="ignore"):  # what becomes infinite is named
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    require_sound(arrays, lambda name: name.endswith(".running_var"))

    variables: dict[str, Any] = {}
    for path, names in sources.items():
        *folders, leaf = path.split("/")
        folder = variables
        for part in folders:
            folder = folder.setdefault(part, {})
        folder[leaf] = np.concatenate([arrays[name] for name in names], -1)
    return config, variables


def _describe(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The network's fields, read off the shapes of the tensors that decide them."""
    regions = any(name.startswith(("local_conv", "fc_local")) for name in state_dict)
    stages = [f"ha{level}.soft_attn.conv.conv.weight" for level in (1, 2, 3)]
    names = ["conv.conv.weight", *stages, "fc_global.0.weight"] + ["fc_local.0.weight"] * regions
    _require_there(state_dict, names)
    classified = "classifier_global.weight" in state_dict
    names += ["classifier_global.weight"] * classified
    flat = [f"{name} {state_dict[name].shape}" for name in names if state_dict[name].ndim < 2]
    _require_none("shapes are wrong", flat)
    width = {name: state_dict[name].shape[0] for name in names}
    odd = [f"{name} {state_dict[name].shape}" for name in stages if width[name] % 16]
    _require_none("channels are no multiples of 16", odd)
    return {
        "name": "hacnn",
        "identities": width["classifier_global.weight"] if classified else 0,
        "stem": width["conv.conv.weight"],
        "widths": tuple(width[name] for name in stages),
        "global_width": width["fc_global.0.weight"],
        "local_width": width["fc_local.0.weight" if regions else "fc_global.0.weight"],
        "regions": regions,
    }


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Path 'params/a/b/kernel' -> shape, of every variable of the network."""
    network = create_network(**config)
    image = jax.ShapeDtypeStruct((1, 160, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=True), image)
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}


def _tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
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
            yield from _linear(f"ha{level}.hard_attn.fc", f"attention{level}/hard/linear")
            yield from _inception_b(f"local_conv{level}", f"local{level}")
    for stream in ("global", "local") if config["regions"] else ("global",):
        yield from _linear(f"fc_{stream}.0", f"fc_{stream}/linear")
        yield from _norm(f"fc_{stream}.1", f"fc_{stream}/norm")
        if config["identities"]:
            yield from _linear(f"classifier_{stream}", f"classifier_{stream}")


def _inception_a(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for stream in (1, 2, 3):
        yield from _conv_norm(f"{theirs}.stream{stream}.0", f"{ours}/reduce")
        yield from _conv_norm(f"{theirs}.stream{stream}.1", f"{ours}/stream{stream}")
    yield from _conv_norm(f"{theirs}.stream4.1", f"{ours}/stream4")  # in place 0 it pools


def _inception_b(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for stream in (1, 2):
        yield from _conv_norm(f"{theirs}.stream{stream}.0", f"{ours}/reduce")
    yield from _conv_norm(f"{theirs}.stream1.1", f"{ours}/stream1")
    yield from _conv_norm(f"{theirs}.stream2.1", f"{ours}/stream2_first")
    yield from _conv_norm(f"{theirs}.stream2.2", f"{ours}/stream2")
    yield from _conv_norm(f"{theirs}.stream3.1", f"{ours}/stream3")  # in place 0 it pools


def _conv_norm(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    yield from _linear(f"{theirs}.conv", ours)
    yield from _norm(f"{theirs}.bn", f"{ours}/norm")


def _linear(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.weight", f"params/{ours}/kernel"
    yield f"{theirs}.bias", f"params/{ours}/bias"


def _norm(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.weight", f"params/{ours}/scale"
    yield f"{theirs}.bias", f"params/{ours}/bias"
    yield f"{theirs}.running_mean", f"batch_stats/{ours}/mean"
    yield f"{theirs}.running_var", f"batch_stats/{ours}/var"


def _channels_last(array: np.ndarray) -> np.ndarray:
    """Convolutions [out, in, h, w] -> [h, w, in, out], linear layers [out, in] -> [in, out], vectors stay."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _require_there(state_dict: Mapping[str, np.ndarray], names: Iterable[str]) -> None:
    found = first_few([f"{name} {array.shape}" for name, array in state_dict.items()])
    _require_none(f"which holds {found}; tensors are missing", [name for name in names if name not in state_dict])


def _require_none(complaint: str, names: Sequence[str]) -> None:
    if names:
        raise InputError(f"this is no state dict of torchreid's hacnn, {complaint}: {first_few(names)}")
