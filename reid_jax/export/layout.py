"""Arrays and how they are stored: which axis of an array each dimension of its ONNX tensor holds.

JAX's networks are NHWC, ONNX's operators NCHW. An array is never transposed for its own sake: `Value.axes` says where
each of its axes lies, and an operation computes on the tensor as it lies, if it can. Transposing, adding and taking
away axes of one, and broadcasting only change what the axes are called. A convolution's output is NCHW in memory, and
so is what is computed from it until something asks for another order:

    array [n, h, w, c] after a convolution    axes (0, 3, 1, 2)
    its mean over h and w, [n, c]             axes (0, 1, None, None), a tensor [n, c, 1, 1]
    that, broadcast to [n, h, w, c] again     axes (0, 3, None, None), the same tensor
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from reid_jax.export.graph import Graph, Tensor
from reid_jax.export.refusal import refuse
from reid_jax.export.tracing import BATCH

Size = Any  # an int, or JAX's symbolic size of what depends on the number of images


@dataclasses.dataclass(frozen=True)
class Value:
    """An array of a traced program.

    shape, dtype: as JAX has them; a size that depends on the number of images is symbolic.
    tensor: what holds it, a constant or the output of a node.
    axes: for each dimension of the tensor the axis that lies there, None for a dimension of one. Axes that are not
      among them have size one, or repeat what is there.
    """

    shape: tuple[Size, ...]
    dtype: np.dtype
    tensor: Tensor
    axes: tuple[int | None, ...]

    def __post_init__(self):
        axes = tuple(None if axis is None or is_one(self.shape[axis]) else axis for axis in self.axes)
        object.__setattr__(self, "axes", axes)

    @classmethod
    def of_array(cls, array: np.ndarray) -> "Value":
        """A constant, stored as it is."""
        return cls(array.shape, array.dtype, array, tuple(range(array.ndim)))

    @property
    def is_constant(self) -> bool:
        """Whether it does not depend on the images."""
        return isinstance(self.tensor, np.ndarray)

    @property
    def is_known(self) -> bool:
        """Whether it is a constant whose every element can be written down."""
        return self.is_constant and all(isinstance(size, int) for size in self.shape)

    @property
    def stored(self) -> list[int]:
        """The axes that the tensor has, in its order."""
        return [axis for axis in self.axes if axis is not None]

    def array(self) -> np.ndarray:
        """All elements of what is known."""
        order = range(len(self.shape))
        return np.broadcast_to(_arranged_array(self, order), self.shape)

    def relabelled(self, names: dict[int, int | None], shape: Sequence[Size]) -> "Value":
        """The same tensor as an array of another shape: axis i of this one is `names[i]` there, or of size one."""
        axes = tuple(None if axis is None else names[axis] for axis in self.axes)
        return dataclasses.replace(self, shape=tuple(shape), axes=axes)


def is_one(size: Size) -> bool:
    """Whether a size is one; a symbolic one is not."""
    return isinstance(size, int) and size == 1


def arranged(graph: Graph, value: Value, order: Iterable[int | None], expand: bool = False) -> Tensor:
    """Returns a tensor with exactly the axes `order`, None for a dimension of one, adding nodes where it has to.

    What is broadcast is a dimension of one, or with `expand` written out.
    """
    order = [None if axis is None or is_one(value.shape[axis]) else axis for axis in order]
    wanted = [axis if axis in value.axes else None for axis in order]
    if value.is_constant:
        tensor: Tensor = _arranged_array(value, wanted)
    else:
        tensor, axes = value.tensor, list(value.axes)
        if value.stored != [axis for axis in wanted if axis is not None]:
            permutation = _permutation(axes, wanted)
            tensor, axes = graph.add("Transpose", tensor, perm=permutation), [axes[place] for place in permutation]
        if axes != wanted:
            tensor = reshape(graph, tensor, sizes_of(value, axes), sizes_of(value, wanted))
    repeated = [axis for axis in order if axis is not None and axis not in wanted]
    if expand and repeated:
        if isinstance(tensor, np.ndarray) and value.is_known:
            return np.broadcast_to(tensor, sizes_of(value, order))
        sizes = [value.shape[axis] if axis in repeated else 1 for axis in order]
        tensor = graph.add("Expand", tensor, _shape_tensor(graph, sizes))
    return tensor


def aligned(graph: Graph, value: Value, order: Sequence[int | None]) -> Tensor:
    """Returns a tensor that ONNX broadcasts to the axes `order`, as it lies if it can be."""
    if not value.shape:  # a number, beside arrays of any shape
        return arranged(graph, value, ())
    if not value.is_constant:
        return value.tensor if fits(value.axes, order) else arranged(graph, value, order)
    array = arranged(graph, value, order)
    return array[(0,) * next((place for place, size in enumerate(array.shape) if size != 1), array.ndim)]


def sizes_of(value: Value, order: Iterable[int | None]) -> list[Size]:
    """The sizes of a tensor that has the axes `order`."""
    return [1 if axis is None else value.shape[axis] for axis in order]


def reshape(graph: Graph, tensor: Tensor, before: Sequence[Size], sizes: Sequence[Size]) -> Tensor:
    """Gives a tensor of sizes `before` other ones, of which one may be symbolic."""
    if isinstance(tensor, np.ndarray):
        return tensor.reshape(sizes)
    original, first = graph.reshaped.get(tensor, (tensor, list(before)))
    if first == list(sizes):
        return original
    if sum(not isinstance(size, int) for size in sizes) > 1:
        refuse(f"an array of sizes {tuple(sizes)}, of which more than one depends on the number of images")
    name = graph.add("Reshape", original, np.array([s if isinstance(s, int) else -1 for s in sizes], np.int64))
    graph.reshaped[name] = original, first
    return name


def fits(axes: Sequence[int | None], order: Sequence[int | None]) -> bool:
    """Whether a tensor of `axes` broadcasts to `order` as ONNX does it, dimensions counted from the last."""
    short = len(order) - len(axes)
    return short >= 0 and all(axis in (None, order[short + place]) for place, axis in enumerate(axes))


def common_order(values: Sequence[Value], also: Iterable[int] = ()) -> list[int]:
    """An order of the axes that any of the values stores, and of those `also` named, that moves the fewest of them.

    It is the order of the value that stores most; what that lacks follows the axis before it.
    """
    order = list(max(values, key=lambda value: (not value.is_constant, len(value.stored))).stored)
    for axis in sorted({axis for value in values for axis in value.stored} | set(also)):
        if axis not in order:
            before = [place for place, other in enumerate(order) if other == axis - 1]
            order.insert(before[0] + 1 if before else len(order), axis)
    return order


def merged_order(values: Sequence[Value]) -> list[int | None]:
    """An order that all the values broadcast to as they lie where there is one, else `common_order`."""
    computed = [value for value in values if not value.is_constant] or list(values)
    rank = max(len(value.axes) for value in computed)
    order: list[int | None] = []
    for place in range(-rank, 0):
        here = {value.axes[place] for value in computed if len(value.axes) >= -place} - {None}
        if len(here) > 1:
            return list(common_order(values))
        order.append(next(iter(here), None))
    stored = [axis for axis in order if axis is not None]
    missing = {axis for value in values for axis in value.stored} - set(stored)
    for axis in sorted(missing):  # of a constant: in the place of a dimension of one, if there is one
        if None in order:
            order[rank - 1 - order[::-1].index(None)] = axis
            missing.remove(axis)
    return list(common_order(values)) if missing or len(stored) != len(set(stored)) else order


def _arranged_array(value: Value, order: Iterable[int | None]) -> np.ndarray:
    order = [axis if axis in value.axes else None for axis in order]
    array = np.reshape(value.tensor, sizes_of(value, value.stored))
    array = array.transpose([value.stored.index(axis) for axis in order if axis is not None])
    return array.reshape(sizes_of(value, order))


def _permutation(axes: Sequence[int | None], wanted: Sequence[int | None]) -> list[int]:
    """The dimensions of `axes` in the order of `wanted`; dimensions of one fill the places that are meant for them."""
    ones = [place for place, axis in enumerate(axes) if axis is None]
    if len(axes) != len(wanted):
        wanted = [axis for axis in wanted if axis is not None]
    places = [ones.pop(0) if axis is None else axes.index(axis) for axis in wanted]
    return places + ones


def _shape_tensor(graph: Graph, sizes: Sequence[Size]) -> Tensor:
    """The sizes as a tensor int64 [r]; the number of images is read off the input."""
    if all(isinstance(size, int) for size in sizes):
        return np.array(sizes, np.int64)
    parts: list[Tensor] = []
    for size in sizes:
        if isinstance(size, int):
            parts.append(np.array([size], np.int64))
        elif str(size) == BATCH:
            parts.append(graph.add("Shape", graph.source, start=0, end=1))
        else:
            refuse(f"a constant that is repeated {size} times")
    return graph.add("Concat", *parts, axis=0)
