"""Products of float32 maps with bfloat16 kernels: both rounded, summed in float32, gradients likewise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import random

from reid_jax.models import ops
from reid_jax.models.ops import convolution, pointwise
from reid_jax.models.ops.precision import product

BFLOAT16, FLOAT32 = np.dtype(jnp.bfloat16), np.dtype(np.float32)
# Not the form of TPUs, where maps and kernels are of one dtype.
OPERATIONS = {f"pointwise {form}": (pointwise.FORMS[form], (8, 6)) for form in ("plain", "rows")}
OPERATIONS |= {
    f"conv {form} {stride}": (lambda x, k, f=function, s=stride: f(x, k, s), (3, 3, 8, 6))
    for form, function in convolution.FORMS.items()
    for stride in (1, 2)
}


def rounded(x):
    return np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu", ops.ANY])
@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT32])
def test_maps_are_of_the_networks_dtype_but_on_a_cpu_float32(platform, dtype):
    with ops.traced_for(platform):
        assert ops.map_dtype(dtype) == (FLOAT32 if platform == "cpu" else dtype)


def test_a_product_rounds_its_factors_and_nothing_else():
    x, kernel = random(0, 5, 7, 64), random(1, 64, 16)
    got = product(jnp.asarray(x), jnp.asarray(kernel, jnp.bfloat16))
    assert got.dtype == FLOAT32
    expected = rounded(x).astype(np.float64) @ rounded(kernel)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(expected - x.astype(np.float64) @ kernel).max() > 1e-3


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients_are_those_of_rounded_arrays(name):
    operation, shape = OPERATIONS[name]
    x, kernel = random(2, 2, 16, 8, 8), random(3, *shape)

    def both_ways(x, kernel, weight):
        y, pull_back = jax.vjp(operation, x, kernel)
        return y, *pull_back(weight)

    weight = random(4, *jax.eval_shape(operation, x, kernel).shape)
    got = both_ways(jnp.asarray(x), jnp.asarray(kernel, jnp.bfloat16), jnp.asarray(weight))
    expected = both_ways(rounded(x), rounded(kernel), rounded(weight))
    assert [each.dtype for each in got] == [FLOAT32, FLOAT32, BFLOAT16]
    for value, of_rounded, tolerance in zip(got, expected, (1e-5, 2e-2, 2e-2), strict=True):
        np.testing.assert_allclose(np.asarray(value, np.float32), of_rounded, rtol=tolerance, atol=tolerance * 10)
