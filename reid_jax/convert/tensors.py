"""From a PyTorch state dict to the variables of a network: which tensor goes where, layouts, and what is refused.

A converter lists pairs (tensor's name, variable's path 'params/a/b/kernel'), with `conv_norm`, `linear` and `norm` for
the layers that have several; `fill` takes them over. Several tensors for one path go side by side, along the last axis.
"""

import collections
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from reid_jax.errors import InputError, first_few
from reid_jax.models.variables import require_sound

Pairs = Iterator[tuple[str, str]]

_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Origin:
    """A state dict, name -> array, that is to be one of the network called `name`, such as "torchreid's hacnn"."""

    name: str
    state_dict: Mapping[str, np.ndarray]

    def require_there(self, names: Iterable[str]) -> None:
        """Raises InputError, naming them and what there is, where tensors are missing."""
        there = first_few([f"{name} {array.shape}" for name, array in self.state_dict.items()])
        missing = [name for name in names if name not in self.state_dict]
        self.require_none(f"which holds {there}; tensors are missing", missing)

    def require_none(self, complaint: str, what: Sequence[str]) -> None:
        """Raises InputError with the complaint and the first few of `what`, where there are any."""
        if what:
            raise InputError(f"this is no state dict of {self.name}, {complaint}: {first_few(what)}")

    def channels(self, names: Sequence[str], multiple: int = 1) -> list[int]:
        """Returns the output channels of kernels [out, in, ...], given by their tensors' names.

        Raises InputError for tensors that are missing or no kernels, and for channels that are not `multiple`s.
        """
        self.require_there(names)
        flat = [name for name in names if self.state_dict[name].ndim < 2]
        self.require_none("shapes are wrong", [f"{name} {self.state_dict[name].shape}" for name in flat])
        odd = [name for name in names if self.state_dict[name].shape[0] % multiple]
        self.require_none(
            f"channels are no multiples of {multiple}", [f"{name} {self.state_dict[name].shape}" for name in odd]
        )
        return [self.state_dict[name].shape[0] for name in names]


def fill(
    origin: Origin, pairs: Iterable[tuple[str, str]], network: nn.Module, ignored: Collection[str] = ()
) -> dict[str, Any]:
    """Returns {'params', 'batch_stats'} of `network`, nested dictionaries of float32 arrays, from the tensors.

    BatchNorm's counts of batches are left out, and what `ignored` names. BatchNorm's running variances are taken over
    as they are, so that inference agrees; PyTorch's are unbiased, those of further training here are biased.
    Raises InputError: names are missing or unknown, shapes do not fit together, a tensor is not of floating point, or
    has numbers that are not finite in float32 or, as a variance, below 0.
    """
    state_dict, targets = origin.state_dict, dict(pairs)
    sources = collections.defaultdict(list)
    for name, path in targets.items():
        sources[path].append(name)
    shapes = _shapes(network)

    origin.require_there(targets)
    known = {*targets, *ignored}
    unknown = [name for name in state_dict if name not in known and not name.endswith(".num_batches_tracked")]
    origin.require_none("tensors are unknown", unknown)
    needed = {name: (*shapes[path][:-1], shapes[path][-1] // len(sources[path])) for name, path in targets.items()}
    arrays = {name: _channels_last(state_dict[name], len(shape)) for name, shape in needed.items()}
    wrong = [
        f"{name} {state_dict[name].shape} becomes {arrays[name].shape} where {shape} is needed"
        for name, shape in needed.items()
        if arrays[name].shape != shape
    ]
    origin.require_none("shapes are wrong", wrong)
    types = {name: array.dtype for name, array in arrays.items()}
    other = [f"{name} {dtype}" for name, dtype in types.items() if dtype.name not in _FLOATS]
    origin.require_none("tensors are not of floating point", other)
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
    return variables


def conv_norm(theirs: str, ours: str, bias: bool = False) -> Pairs:
    """Pairs of a convolution, with bias or without, and its BatchNorm, to be a `ConvNorm`."""
    yield f"{theirs}.conv.weight", f"params/{ours}/kernel"
    if bias:
        yield f"{theirs}.conv.bias", f"params/{ours}/bias"
    yield from norm(f"{theirs}.bn", f"{ours}/norm")


def linear(theirs: str, ours: str) -> Pairs:
    """Pairs of a linear layer with bias."""
    yield f"{theirs}.weight", f"params/{ours}/kernel"
    yield f"{theirs}.bias", f"params/{ours}/bias"


def norm(theirs: str, ours: str) -> Pairs:
    """Pairs of a BatchNorm."""
    yield f"{theirs}.weight", f"params/{ours}/scale"
    yield f"{theirs}.bias", f"params/{ours}/bias"
    yield f"{theirs}.running_mean", f"batch_stats/{ours}/mean"
    yield f"{theirs}.running_var", f"batch_stats/{ours}/var"


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Path 'params/a/b/kernel' -> shape, of every variable of the network."""
    image = jax.ShapeDtypeStruct((1, 160, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=True), image)
    return {path: leaf.shape for path, leaf in flatten_dict(variables, sep="/").items()}


def _channels_last(array: np.ndarray, dimensions: int) -> np.ndarray:
    """Convolutions [out, in, h, w] -> [h, w, in, out], linear layers [out, in] -> [in, out], vectors stay.

    A 1x1 convolution that is a linear layer here, of 2 `dimensions`, becomes [in, out].
    """
    if array.ndim == 4 and dimensions == 2 and array.shape[2:] == (1, 1):
        array = array[:, :, 0, 0]
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
