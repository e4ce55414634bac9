"""Equations whose inputs are all constants, computed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reid_jax.export.layout import Value

# As NumPy computes them: JAX compiles each for each shape, which takes longer than all the rest of an export.
_BY_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "abs": np.abs,
    "add": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "neg": np.negative,
    "sqrt": np.sqrt,
    "sub": np.subtract,
}


def compute(equation: Any, values: Sequence[Value]) -> list[Value]:
    """Returns the results of an equation, whose inputs and sizes are all known."""
    arrays = [value.array() for value in values]
    name, aval = equation.primitive.name, equation.outvars[0].aval
    if name in _BY_NUMPY:
        results = [_BY_NUMPY[name](*arrays)]
    elif name == "rsqrt":
        results = [1 / np.sqrt(arrays[0])]
    elif name == "div" and aval.dtype.kind == "f":
        results = [np.divide(*arrays)]
    elif name == "iota":
        line = np.arange(aval.shape[equation.params["dimension"]], dtype=aval.dtype)
        along = [1] * len(aval.shape)
        along[equation.params["dimension"]] = -1
        results = [np.broadcast_to(line.reshape(along), aval.shape)]
    else:
        computed = equation.primitive.bind(*arrays, **equation.params)
        results = computed if equation.primitive.multiple_results else [computed]
    return [
        Value.of_array(np.asarray(result, variable.aval.dtype))
        for result, variable in zip(results, equation.outvars, strict=True)
    ]
