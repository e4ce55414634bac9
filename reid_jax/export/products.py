"""Sums of products: `dot_general` as a 1x1 convolution or a matrix product, of tensors as they lie if they can be."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reid_jax.export.graph import Graph, Tensor
from reid_jax.export.layout import Value, aligned, arranged, is_one, merged_order, reshape

_SUMMED = -1  # what the axis that is summed over is called, where others are called as in the result

Axes = tuple[int | None, ...]


def dot_general(graph: Graph, left: Value, right: Value, numbers: Any) -> tuple[Tensor, Axes]:
    """Returns the tensor of a sum of products and its axes; `numbers` as `jax.lax.dot_general` has them."""
    (left_summed, right_summed), (left_shared, right_shared) = numbers
    shared = len(left_shared)
    if len(left_summed) != 1:
        left, right = _joined(graph, left, left_shared, left_summed), _joined(graph, right, right_shared, right_summed)
        left_shared = right_shared = range(shared)
        left_summed, right_summed = [len(left.shape) - 1], [len(right.shape) - 1]
    left_free = [axis for axis in range(len(left.shape)) if axis not in (*left_summed, *left_shared)]
    right_free = [axis for axis in range(len(right.shape)) if axis not in (*right_summed, *right_shared)]
    first = _Factor(left, (*left_shared, *left_free), range(shared + len(left_free)), left_summed[0])
    names = (*range(shared), *range(shared + len(left_free), shared + len(left_free) + len(right_free)))
    second = _Factor(right, (*right_shared, *right_free), names, right_summed[0])
    if is_one(left.shape[left_summed[0]]):
        return _element_by_element(graph, first, second, rank=shared + len(left_free) + len(right_free))
    for constant, other in ((second, first), (first, second)):
        if (
            constant.value.is_constant
            and constant.stored & other.stored == {_SUMMED}
            and len(constant.stored) <= 2
            and (done := _by_matrix(graph, other, constant))
        ):
            return done
    return _as_matrices(graph, first, second)


class _Factor:
    """One of the two arrays, its axes called as in the result."""

    def __init__(self, value: Value, axes: Sequence[int], names: Sequence[int], summed: int):
        self.value = value
        self.axis_of = dict(zip(names, axes, strict=True)) | {_SUMMED: summed}
        self.name_of = {axis: name for name, axis in self.axis_of.items()}

    @property
    def names(self) -> list[int | None]:
        """What lies in each dimension of the tensor."""
        return [None if axis is None else self.name_of[axis] for axis in self.value.axes]

    @property
    def stored(self) -> set[int]:
        """What the tensor has."""
        return {name for name in self.names if name is not None}

    def arranged(self, graph: Graph, names: Sequence[int | None], expand: bool = False) -> Tensor:
        """The tensor with these dimensions; of what it does not have, a dimension of one."""
        order = [self.axis_of.get(name) if name is not None else None for name in names]
        return arranged(graph, self.value, order, expand)


def _joined(graph: Graph, value: Value, shared: Sequence[int], summed: Sequence[int]) -> Value:
    """The array with its shared axes first and the axes that are summed over last, as one."""
    free = [axis for axis in range(len(value.shape)) if axis not in (*shared, *summed)]
    kept = [*shared, *free]
    sizes = [value.shape[axis] for axis in kept] + [math.prod(value.shape[axis] for axis in summed)]
    tensor = arranged(graph, value, [*kept, *summed], expand=True)
    tensor = reshape(graph, tensor, [value.shape[axis] for axis in (*kept, *summed)], sizes)
    return Value(tuple(sizes), value.dtype, tensor, tuple(range(len(sizes))))


def _element_by_element(graph: Graph, left: _Factor, right: _Factor, rank: int) -> tuple[Tensor, Axes]:
    """What is summed over one element."""
    shape = [1] * rank
    for factor in (left, right):
        for name, axis in factor.axis_of.items():
            if name != _SUMMED:
                shape[name] = factor.value.shape[axis]
    values = [
        factor.value.relabelled(factor.name_of | {factor.axis_of[_SUMMED]: None}, shape) for factor in (left, right)
    ]
    order = merged_order(values)
    return graph.add("Mul", *(aligned(graph, value, order) for value in values)), tuple(order)


def _by_matrix(graph: Graph, x: _Factor, constant: _Factor) -> tuple[Tensor, Axes] | None:
    """The product with a constant matrix along one dimension of `x`, where it lies; None where no operator does it."""
    free = [name for name in constant.axis_of if name != _SUMMED and name in constant.stored]
    new = free[0] if free else None
    matrix = constant.arranged(graph, [_SUMMED, new], expand=True)  # [summed, new]
    names = x.names
    place, rank = names.index(_SUMMED), len(names)
    axes = tuple(new if name == _SUMMED else name for name in names)
    if place == 1 and rank > 2:
        kernel = np.ascontiguousarray(matrix.T).reshape(*matrix.T.shape, *[1] * (rank - 2))
        return graph.add("Conv", x.value.tensor, kernel, kernel_shape=[1] * (rank - 2)), axes
    if place == rank - 1:
        return graph.add("Gemm" if rank == 2 else "MatMul", x.value.tensor, matrix), axes
    if place == rank - 2:
        return graph.add("MatMul", np.ascontiguousarray(matrix.T), x.value.tensor), axes
    return None


def _as_matrices(graph: Graph, left: _Factor, right: _Factor) -> tuple[Tensor, Axes]:
    """A matrix product over the last two dimensions, broadcast over the others; the way that moves less in memory."""
    ways = [_Way(left, right), _Way(right, left)]
    way = min(ways, key=lambda way: way.moved)
    tensors = [
        factor.arranged(graph, order, expand=_SUMMED not in factor.stored)
        for factor, order in ((way.first, way.first_order), (way.second, way.second_order))
    ]
    return graph.add("MatMul", *tensors), tuple(way.order)


class _Way:
    """`first` @ `second`: which axes are rows, columns and batches."""

    def __init__(self, first: _Factor, second: _Factor):
        self.first, self.second = first, second
        by_size = sorted((first, second), key=lambda factor: -len(factor.stored))
        lie = [name for factor in by_size for name in factor.names if name not in (None, _SUMMED)]
        lie = list(dict.fromkeys(lie))
        rows = [name for name in lie if name not in second.stored]
        columns = [name for name in lie if name not in first.stored]
        row, column = (rows or [None])[-1], (columns or [None])[-1]
        batches = [name for name in lie if name not in (row, column)]
        self.order = [*batches, row, column]
        self.first_order = [*batches, row, _SUMMED]
        self.second_order = [*batches, _SUMMED, column]

    @property
    def moved(self) -> int:
        """About how much has to be transposed: the axes of tensors that lie otherwise."""
        moved = 0
        for factor, order in ((self.first, self.first_order), (self.second, self.second_order)):
            names = [name for name in factor.names if name is not None]
            wanted = [name for name in order if name in factor.stored]
            moved += len(names) ** 2 * (names != wanted)
        return moved
