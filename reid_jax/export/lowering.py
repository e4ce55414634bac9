"""A network as an ONNX graph: traced with its weights as constants, constants computed, the rest written as operators.

Nothing here knows a network. Its plain forms (`reid_jax.models.ops`) are traced for any number of images; what depends
on the weights alone, such as the slope of a BatchNorm or kernels in another order, is computed; each equation that is
left becomes operators (`primitives`), on tensors as they lie (`layout`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from reid_jax.errors import shown
from reid_jax.export.constants import compute
from reid_jax.export.graph import Graph
from reid_jax.export.layout import Value, arranged
from reid_jax.export.primitives import EMITTERS
from reid_jax.export.refusal import refuse, refusing_failures
from reid_jax.export.tracing import for_any_number, images_of, plain

INPUT, OUTPUT = "images", "embeddings"

# Primitives that hold a program of their own, and under which name.
_PROGRAMS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
}

# Primitives that only call the axes otherwise, of constants too.
_RELABELS = {"broadcast_in_dim", "expand_dims", "reshape", "squeeze", "transpose"}


def lower(describe: Callable[[jax.Array], jax.Array], image_size: tuple[int, int], dtype: Any) -> Graph:
    """Returns the graph of `describe`, pure and with constant weights: images [n, h, w, 3] of `dtype` -> [n, d].

    The graph's input is `images`, float32 [batch, 3, h, w] or, pixels as they lie in memory, uint8 [batch, h, w, 3];
    its output is `embeddings` [batch, d]. Raises InputError for what is not written as ONNX here.
    """
    images = images_of(image_size, dtype)
    with for_any_number():
        program = plain(describe).trace(images).jaxpr
    graph = Graph(INPUT)
    tensor = INPUT if images.dtype.kind == "f" else graph.add("Transpose", INPUT, perm=[0, 3, 1, 2])
    value = Value(images.shape, images.dtype, tensor, (0, 3, 1, 2))
    with refusing_failures(), jax.default_matmul_precision("highest"):  # of what is computed of the weights
        (result,) = _run(graph, program.jaxpr, program.consts, [value])
        graph.finish(arranged(graph, result, (0, 1), expand=True), OUTPUT)
    return graph


def _run(graph: Graph, program: core.Jaxpr, constants: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
    """Goes through a program's equations, and returns its results."""
    known: dict[Any, Value] = {}
    for variable in (*program.constvars, *(each for equation in program.eqns for each in equation.outvars)):
        if jax.dtypes.issubdtype(variable.aval.dtype, jax.dtypes.extended):  # a key
            refuse("random numbers, be they the same each time")

    def read(atom: Any) -> Value:
        return Value.of_array(np.asarray(atom.val, atom.aval.dtype)) if hasattr(atom, "val") else known[atom]

    values = [each if isinstance(each, Value) else Value.of_array(np.asarray(each)) for each in constants]
    known.update(zip(program.constvars, values, strict=True))
    known.update(zip(program.invars, arguments, strict=True))
    for equation in program.eqns:
        results = _results(graph, equation, [read(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in program.outvars]


def _results(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
    name = equation.primitive.name
    if name in _CALLS:
        inner = next(equation.params[key] for key in _PROGRAMS if key in equation.params)
        return _run(graph, getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), values)
    if name == "dim_as_value":
        refuse("with the number of images, such as a mean over them")
    if name not in _RELABELS and all(value.is_known for value in values) and _is_fixed(equation):
        return compute(equation, values)
    if name not in EMITTERS:
        refuse(f"{shown(name)!r}")
    results = EMITTERS[name](graph, equation, values)
    return [results] if isinstance(results, Value) else results


def _is_fixed(equation: Any) -> bool:
    """Whether the sizes of the results do not depend on the number of images."""
    return all(isinstance(size, int) for result in equation.outvars for size in result.aval.shape)
