"""JAX's primitives as ONNX operators: a function each, which returns the results of an equation as stored arrays.

`EMITTERS` has them by the primitive's name. A primitive that is not there, or a use of one that ONNX has no operator
for, is refused.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from reid_jax.export.graph import Graph
from reid_jax.export.layout import Size, Value, aligned, arranged, common_order, is_one, merged_order, reshape, sizes_of
from reid_jax.export.products import dot_general
from reid_jax.export.refusal import refuse

Emitter = Callable[[Graph, Any, Sequence[Value]], Value | list[Value]]

TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}


def _result(equation: Any, tensor: Any, axes: Sequence[int | None], number: int = 0) -> Value:
    aval = equation.outvars[number].aval
    return Value(aval.shape, np.dtype(aval.dtype), tensor, tuple(axes))


def _onnx_type(dtype: Any) -> int:
    if str(dtype) not in TYPES:
        refuse(f"numbers of type {dtype}")
    return TYPES[str(dtype)]


# Element by element.


def _elementwise(compute: Callable[..., Any]) -> Emitter:
    """An emitter of `compute(graph, *tensors)`, the tensors such that ONNX broadcasts them."""

    def emit(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
        order = merged_order(values)
        return _result(equation, compute(graph, *(aligned(graph, value, order) for value in values)), order)

    return emit


def _operator(name: str) -> Emitter:
    return _elementwise(lambda graph, *tensors: graph.add(name, *tensors))


def _max(graph: Graph, x: Any, y: Any) -> str:
    for one, other in ((x, y), (y, x)):
        if isinstance(other, np.ndarray) and other.size == 1 and not other.any():
            return graph.add("Relu", one)
    return graph.add("Max", x, y)


def _rsqrt(graph: Graph, x: Any) -> str:
    return graph.add("Reciprocal", graph.add("Sqrt", x))


def _not_equal(graph: Graph, x: Any, y: Any) -> str:
    return graph.add("Not", graph.add("Equal", x, y))


def _integer_pow(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (x,), power = values, equation.params["y"]
    if power == 2:
        return _result(equation, graph.add("Mul", x.tensor, x.tensor), x.axes)
    return _result(equation, graph.add("Pow", x.tensor, np.asarray(power, x.dtype)), x.axes)


def _square(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (x,) = values
    return _result(equation, graph.add("Mul", x.tensor, x.tensor), x.axes)


def _convert(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (x,) = values
    if equation.outvars[0].aval.dtype == x.dtype:
        return x
    return _result(equation, graph.add("Cast", x.tensor, to=_onnx_type(equation.outvars[0].aval.dtype)), x.axes)


def _same(graph: Graph, equation: Any, values: Sequence[Value]) -> Value | list[Value]:
    return list(values)


def _select(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    which, *cases = values
    if which.is_constant and len(set(which.tensor.reshape(-1).tolist())) == 1:
        return cases[int(which.tensor.reshape(-1)[0])]
    if which.dtype != bool:
        refuse("a choice among more than two arrays")
    return _elementwise(lambda graph, which, no, yes: graph.add("Where", which, yes, no))(graph, equation, values)


def _clamp(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    def compute(graph, low, x, high):
        return graph.add("Min", graph.add("Max", x, low), high)

    return _elementwise(compute)(graph, equation, values)


# Axes: nothing is computed, but where an axis is cut, put together or divided.


def _broadcast(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    places = equation.params["broadcast_dimensions"]
    return values[0].relabelled(dict(enumerate(places)), equation.outvars[0].aval.shape)


def _transpose(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    names = {axis: place for place, axis in enumerate(equation.params["permutation"])}
    return values[0].relabelled(names, equation.outvars[0].aval.shape)


def _squeeze(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    gone = equation.params["dimensions"]
    kept = [axis for axis in range(len(values[0].shape)) if axis not in gone]
    names = {axis: place for place, axis in enumerate(kept)}
    return values[0].relabelled(names, equation.outvars[0].aval.shape)


def _expand_dims(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    shape = equation.outvars[0].aval.shape
    kept = [axis for axis in range(len(shape)) if axis not in equation.params["dimensions"]]
    return values[0].relabelled(dict(enumerate(kept)), shape)


def _reshape(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    """Divides and joins axes, where the tensor lies so that it can be; axes that stay are only called otherwise."""
    (x,), shape = values, equation.outvars[0].aval.shape
    groups = _groups(x.shape, shape)
    group_of = {axis: number for number, (old, _) in enumerate(groups) for axis in old}
    changed = {number for number, (old, new) in enumerate(groups) if (len(old), len(new)) != (1, 1)}
    changed = {number for number in changed if any(axis in x.stored for axis in groups[number][0])}
    if not changed:
        names = {old[0]: new[0] if new else None for old, new in groups if old}
        return x.relabelled(names, shape)
    order: list[int] = []
    for axis in x.stored:
        if axis not in order:
            order += groups[group_of[axis]][0] if group_of[axis] in changed else [axis]
    tensor = arranged(graph, x, order, expand=True)
    axes = [name for number in dict.fromkeys(group_of[axis] for axis in order) for name in groups[number][1]]
    return _result(equation, reshape(graph, tensor, sizes_of(x, order), [shape[axis] for axis in axes]), axes)


def _groups(old: Sequence[Size], new: Sequence[Size]) -> list[tuple[list[int], list[int]]]:
    """The axes of a reshaped array that become axes of the result together: (old, new) each, without those of one."""
    before = [axis for axis, size in enumerate(old) if not is_one(size)]
    after = [axis for axis, size in enumerate(new) if not is_one(size)]
    groups = []
    begin_before = begin_after = 0
    for place, size in enumerate(_running(old, before), 1):
        for other, same in enumerate(_running(new, after)[begin_after:], begin_after + 1):
            if size == same:
                groups.append((before[begin_before:place], after[begin_after:other]))
                begin_before, begin_after = place, other
                break
    return groups


def _running(shape: Sequence[Size], axes: Sequence[int]) -> list[Size]:
    products: list[Size] = []
    for axis in axes:
        products.append(shape[axis] * (products[-1] if products else 1))
    return products


def _concatenate(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    return _joined(graph, equation, values, equation.params["dimension"])


def _joined(graph: Graph, equation: Any, values: Sequence[Value], axis: int) -> Value:
    order = merged_order(values)
    if axis not in order:
        order = common_order(values, also=[axis])
    tensors = [arranged(graph, value, order, expand=True) for value in values]
    return _result(equation, graph.add("Concat", *tensors, axis=order.index(axis)), order)


def _stack(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    """Puts arrays side by side along an axis that is there, which is then divided in two.

    Along the next axis they lie as they have to, along the one before the elements of each have to be interleaved.
    """
    new, shape, count = equation.params["axis"], values[0].shape, len(values)
    order = merged_order(values)
    beside = next((axis for axis in (new, new - 1) if axis in order and isinstance(shape[axis], int)), None)
    if beside is None:
        names = {axis: axis + (axis >= new) for axis in range(len(shape))}
        longer = (*shape[:new], 1, *shape[new:])
        return _joined(graph, equation, [value.relabelled(names, longer) for value in values], new)
    place, size = order.index(beside), shape[beside]
    tensor: Any = graph.add("Concat", *(arranged(graph, each, order, expand=True) for each in values), axis=place)
    axes = [None if axis is None else axis + (axis >= new) for axis in order]
    if beside == new:
        axes.insert(place, new)
    else:
        interleaved = np.arange(count * size).reshape(count, size).T.reshape(-1)
        tensor = graph.add("Gather", tensor, interleaved, axis=place)
        axes.insert(place + 1, new)
    before = sizes_of(values[0], order)
    before[place] = count * size
    out = equation.outvars[0].aval.shape
    after = [1 if axis is None else out[axis] for axis in axes]
    return _result(equation, reshape(graph, tensor, before, after), axes)


def _split(graph: Graph, equation: Any, values: Sequence[Value]) -> list[Value]:
    (x,), axis, sizes = values, equation.params["axis"], equation.params["sizes"]
    if len(sizes) == 1:
        return [x]
    if axis not in x.stored:
        return [_result(equation, x.tensor, x.axes, number) for number in range(len(sizes))]
    lengths = np.array(sizes, np.int64)
    names = graph.add_many("Split", x.tensor, lengths, outputs=len(sizes), axis=x.axes.index(axis))
    return [_result(equation, name, x.axes, number) for number, name in enumerate(names)]


def _slice(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    parameters = equation.params
    strides = parameters["strides"] or [1] * len(values[0].shape)
    limits = zip(parameters["start_indices"], parameters["limit_indices"], strides, strict=True)
    return _result(equation, *_cut(graph, values[0], list(limits)))


def _cut(graph: Graph, x: Value, limits: Sequence[tuple[Size, Size, int]]) -> tuple[Any, tuple[int | None, ...]]:
    """The tensor of `x` from start to stop along each axis, and its axes."""
    cuts = []
    for place, axis in enumerate(x.axes):
        if axis is not None and tuple(limits[axis]) != (0, x.shape[axis], 1):
            if not all(isinstance(limit, int) for limit in limits[axis]):
                refuse("a part of the images by their number")
            cuts.append((place, *limits[axis]))
    if not cuts:
        return x.tensor, x.axes
    places, starts, stops, steps = (np.array(each, np.int64) for each in zip(*cuts, strict=True))
    return graph.add("Slice", x.tensor, starts, stops, places, steps), x.axes


def _dynamic_slice(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    x, *starts = values
    if not all(start.is_known for start in starts):
        refuse("a part of an array whose place depends on the image")
    limits = []
    for size, start, extent in zip(x.shape, starts, equation.params["slice_sizes"], strict=True):
        if extent != size and not isinstance(size, int):
            refuse("a part of the images by their number")
        first = 0 if extent == size else min(max(int(start.array()), 0), size - extent)
        limits.append((first, first + extent, 1))
    return _result(equation, *_cut(graph, x, limits))


def _gather(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    """Indexing by constants: a part of each axis, or entries along it in any order."""
    x, indices = values
    numbers, extents = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    if not indices.is_known or numbers.operand_batching_dims:
        refuse("indexing whose indices depend on the image")
    out_shape, starts = equation.outvars[0].aval.shape, indices.array()
    kept = [axis for axis in range(len(x.shape)) if axis not in numbers.collapsed_slice_dims]
    names: dict[int, int | None] = dict(zip(kept, numbers.offset_dims, strict=True))
    ways = [place for place in range(len(out_shape)) if place not in numbers.offset_dims]  # of the axes of `starts`
    limits = [(0, size if extent == size else extent, 1) for size, extent in zip(x.shape, extents, strict=True)]
    taken: dict[int, np.ndarray] = {}
    for number, axis in enumerate(numbers.start_index_map):
        if extents[axis] == x.shape[axis]:
            continue
        if not isinstance(x.shape[axis], int):
            refuse("a part of the images by their number")
        first = np.clip(starts[..., number], 0, x.shape[axis] - extents[axis])
        along = [way for way, size in enumerate(first.shape) if size > 1 and (first != first.take([0], way)).any()]
        if not along:
            limits[axis] = (int(first.flat[0]), int(first.flat[0]) + extents[axis], 1)
        elif len(along) > 1 or axis in kept or ways[along[0]] in names.values():
            refuse("indexing along several axes by one array")
        else:
            limits[axis] = (0, x.shape[axis], 1)
            taken[axis] = np.moveaxis(first, along[0], 0).reshape(first.shape[along[0]], -1)[:, 0]
            names[axis] = ways[along[0]]
    tensor, axes = _cut(graph, x, limits)
    for axis, numbers_taken in taken.items():
        if axis in x.stored:
            tensor = graph.add("Gather", tensor, numbers_taken.astype(np.int64), axis=x.axes.index(axis))
    if any(out_shape[way] != 1 for way in ways if way not in names.values()):
        refuse("indexing that repeats what it takes")
    return _result(equation, tensor, [None if axis is None else names.get(axis) for axis in axes])


def _reverse(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (x,) = values
    places = [x.axes.index(axis) for axis in equation.params["dimensions"] if axis in x.stored]
    if not places:
        return x
    last, before_first, back = (np.full(len(places), number, np.int64) for number in (-1, np.iinfo(np.int64).min, -1))
    return _result(equation, graph.add("Slice", x.tensor, last, before_first, np.array(places), back), x.axes)


def _pad(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    x, filling = values
    widths = equation.params["padding_config"]
    if any(between for _, _, between in widths):
        refuse("padding between elements")
    if not filling.is_known:
        refuse("padding by a number that depends on the image")
    padded = [axis for axis, (low, high, _) in enumerate(widths) if low or high]
    order: Sequence[int | None] = x.axes
    if not set(padded) <= set(x.stored):
        order = common_order([x], also=padded)
    tensor = arranged(graph, x, order, expand=True)
    ends = [[widths[axis][end] if axis is not None else 0 for axis in order] for end in (0, 1)]
    return _result(equation, graph.add("Pad", tensor, np.array(sum(ends, []), np.int64), filling.array()), order)


# Sums and maxima.


def _reduction(operator: str) -> Emitter:
    def emit(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
        (x,), gone, shape = values, equation.params["axes"], equation.outvars[0].aval.shape
        kept = [axis for axis in range(len(x.shape)) if axis not in gone]
        names = {axis: place for place, axis in enumerate(kept)} | dict.fromkeys(gone)
        places = [place for place, axis in enumerate(x.axes) if axis in gone]
        if operator in _POOLED and places and (windows := _windows_of(graph, x, places)):
            original, sizes = windows
            attributes = {"kernel_shape": sizes, "strides": sizes, "pads": [0] * (2 * len(sizes))}
            tensor = graph.add(_POOLED[operator], original, **attributes)
            if operator == "ReduceSum":
                tensor = graph.add("Mul", tensor, np.asarray(math.prod(sizes), x.dtype))
            left = [axis for place, axis in enumerate(x.axes) if place not in places]
            return Value(shape, x.dtype, tensor, tuple(None if axis is None else names[axis] for axis in left))
        tensor = graph.add(operator, x.tensor, np.array(places, np.int64), keepdims=1) if places else x.tensor
        if places and operator == "ReduceSum":
            graph.nodes[-1].terms = math.prod(x.shape[x.axes[place]] for place in places)
        repeats = [x.shape[axis] for axis in gone if axis not in x.stored]
        times = math.prod(repeats)
        if times != 1 and operator == "ReduceSum":
            if not isinstance(times, int):
                refuse("a sum over the images")
            tensor = graph.add("Mul", tensor, np.asarray(times, x.dtype))
        elif times != 1 and operator == "ReduceProd":
            refuse("a product of repeated numbers")
        axes = [None if axis is None else names[axis] for axis in x.axes]
        return Value(shape, x.dtype, tensor, tuple(axes))

    return emit


_POOLED = {"ReduceSum": "AveragePool", "ReduceMax": "MaxPool"}


def _windows_of(graph: Graph, x: Value, places: Sequence[int]) -> tuple[str, list[int]] | None:
    """(tensor, window) where the dimensions `places` of `x` are windows side by side that a reshape has cut out of it.

    So [n, c, h / 2, 2, w / 2, 2], reduced over the twos, is a pooling of [n, c, h, w] with a window of 2x2.
    """
    original, before = graph.reshaped.get(x.tensor, (x.tensor, [])) if isinstance(x.tensor, str) else ("", [])
    after, windows, place = [*sizes_of(x, x.axes), 0, 0], [], 0
    for size in before:
        if size == after[place] and place not in places:
            windows.append(1)
            place += 1
        elif size == after[place] * after[place + 1] and place not in places and place + 1 in places:
            windows.append(after[place + 1])
            place += 2
        else:
            return None
    if len(windows) < 3 or windows[:2] != [1, 1] or place != len(x.axes):
        return None
    return original, windows[2:]


def _pool(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    """A window's maximum or sum over all axes but two: the images and the channels."""
    (x,), parameters = values, equation.params
    size, stride = parameters["window_dimensions"], parameters["window_strides"]
    padding, spacing = parameters["padding"], parameters["window_dilation"]
    outer = [axis for axis in range(len(size)) if size[axis] == 1 and stride[axis] == 1 and not any(padding[axis])]
    if len(outer) > 2:  # a window of one along the height or width, too
        outer = [axis for axis in outer if axis in (0, len(size) - 1)]
    inner = [axis for axis in range(len(size)) if axis not in outer]
    if len(outer) != 2 or any(each != 1 for each in parameters["base_dilation"]):
        refuse("a pooling that is not over the places of an image")
    outer = [axis for axis in x.stored if axis in outer] + [axis for axis in outer if axis not in x.stored]
    order = [*outer, *inner]
    tensor = arranged(graph, x, order, expand=True)
    attributes = {
        "kernel_shape": [size[axis] for axis in inner],
        "strides": [stride[axis] for axis in inner],
        "dilations": [spacing[axis] for axis in inner],
        "pads": [padding[axis][end] for end in (0, 1) for axis in inner],
    }
    if equation.primitive.name == "reduce_window_max":
        return _result(equation, graph.add("MaxPool", tensor, **attributes), order)
    if any(each != 1 for each in attributes.pop("dilations")):
        refuse("a sum over a window with gaps")
    mean = graph.add("AveragePool", tensor, count_include_pad=1, **attributes)
    return _result(equation, graph.add("Mul", mean, np.asarray(math.prod(size), x.dtype)), order)


def _convolution(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (x, kernel), parameters = values, equation.params
    numbers = parameters["dimension_numbers"]
    if any(each != 1 for each in parameters["lhs_dilation"]) or parameters["batch_group_count"] != 1:
        refuse("a transposed convolution")
    inputs = arranged(graph, x, numbers.lhs_spec, expand=True)
    weights = arranged(graph, kernel, numbers.rhs_spec, expand=True)
    padding = parameters["padding"]
    tensor = graph.add(
        "Conv",
        inputs,
        weights,
        kernel_shape=[int(kernel.shape[axis]) for axis in numbers.rhs_spec[2:]],
        strides=list(parameters["window_strides"]),
        dilations=list(parameters["rhs_dilation"]),
        pads=[sides[end] for end in (0, 1) for sides in padding],
        group=parameters["feature_group_count"],
    )
    return _result(equation, tensor, numbers.out_spec)


def _product(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    tensor, axes = dot_general(graph, *values, equation.params["dimension_numbers"])
    return _result(equation, tensor, axes)


EMITTERS: dict[str, Emitter] = {
    "abs": _operator("Abs"),
    "add": _operator("Add"),
    "add_any": _operator("Add"),
    "and": _operator("And"),
    "broadcast_in_dim": _broadcast,
    "ceil": _operator("Ceil"),
    "clamp": _clamp,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "convert_element_type": _convert,
    "copy": _same,
    "copy_p": _same,
    "cos": _operator("Cos"),
    "div": _operator("Div"),
    "dot_general": _product,
    "dynamic_slice": _dynamic_slice,
    "eq": _operator("Equal"),
    "erf": _operator("Erf"),
    "exp": _operator("Exp"),
    "expand_dims": _expand_dims,
    "floor": _operator("Floor"),
    "gather": _gather,
    "ge": _operator("GreaterOrEqual"),
    "gt": _operator("Greater"),
    "integer_pow": _integer_pow,
    "le": _operator("LessOrEqual"),
    "log": _operator("Log"),
    "logistic": _operator("Sigmoid"),
    "lt": _operator("Less"),
    "max": _elementwise(_max),
    "min": _operator("Min"),
    "mul": _operator("Mul"),
    "ne": _elementwise(_not_equal),
    "neg": _operator("Neg"),
    "not": _operator("Not"),
    "optimization_barrier": _same,
    "or": _operator("Or"),
    "pad": _pad,
    "pow": _operator("Pow"),
    "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"),
    "reduce_prod": _reduction("ReduceProd"),
    "reduce_sum": _reduction("ReduceSum"),
    "reduce_window_max": _pool,
    "reduce_window_sum": _pool,
    "reshape": _reshape,
    "rev": _reverse,
    "rsqrt": _elementwise(_rsqrt),
    "select_n": _select,
    "sign": _operator("Sign"),
    "sin": _operator("Sin"),
    "slice": _slice,
    "split": _split,
    "sqrt": _operator("Sqrt"),
    "square": _square,
    "squeeze": _squeeze,
    "stack": _stack,
    "stop_gradient": _same,
    "sub": _operator("Sub"),
    "tanh": _operator("Tanh"),
    "transpose": _transpose,
}
