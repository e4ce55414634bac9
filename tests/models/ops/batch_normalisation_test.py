"""Each form of BatchNorm against its definition, gradients and statistics included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops.batch_normalisation import FORMS, normalise

forms = pytest.mark.parametrize("form", FORMS)


def definition(relu):
    """BatchNorm, and its gradients (Ioffe and Szegedy, 2015, section 3), in float64."""

    def reference(x, scale, bias):
        axes = tuple(range(x.ndim - 1))
        deviation = np.sqrt(x.var(axes) + 1e-5)
        unit = (x - x.mean(axes)) / deviation
        y = unit * scale + bias

        def gradients(cotangent):
            to_y = np.where(y > 0, cotangent, 0) if relu else cotangent
            to_unit = to_y * scale
            to_x = (to_unit - to_unit.mean(axes) - unit * (to_unit * unit).mean(axes)) / deviation
            return to_x, (to_y * unit).sum(axes), to_y.sum(axes)

        return np.maximum(y, 0) if relu else y, gradients

    return reference


@forms
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 4, 4, 6), (2, 16, 8, 6), (9, 6)])
def test_values_gradients_and_statistics(form, relu, shape):
    x, scale, bias = 2 + 3 * random(4, *shape), random(5, 6), random(6, 6)
    batch_norm = FORMS[form]
    assert_same(lambda *a: batch_norm(*a, relu, 1e-5)[0], definition(relu), x, scale, bias, tolerance=5e-5)
    _, mean, variance = batch_norm(x, scale, bias, relu, 1e-5)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(mean, np.mean(x, axes), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(x, axes), rtol=1e-4)


@forms
def test_no_gradient_flows_through_the_statistics(form):
    def of_statistics(x):
        _, mean, variance = FORMS[form](x, jnp.ones(6), jnp.zeros(6), False, 1e-5)
        return jnp.sum(mean) + jnp.sum(variance)

    assert not np.any(jax.grad(of_statistics)(random(4, 9, 6)))


@forms
def test_a_constant_channel_becomes_its_bias(form):
    y, _, variance = FORMS[form](jnp.full((8, 2), 1e3), jnp.ones(2), jnp.array([1.0, -1.0]), False, 1e-5)
    assert np.all(variance >= 0)
    np.testing.assert_allclose(y[0], [1, -1], atol=1e-2)


@forms
def test_bfloat16_inputs_keep_float32_statistics(form):
    x = (100 + random(7, 64, 8, 4)).astype(jnp.bfloat16)
    y, mean, variance = FORMS[form](x, jnp.ones(4), jnp.zeros(4), False, 1e-5)
    assert y.dtype == jnp.bfloat16
    assert mean.dtype == variance.dtype == jnp.float32
    np.testing.assert_allclose(mean, np.mean(np.asarray(x, np.float32), (0, 1)), rtol=1e-5)


@pytest.mark.parametrize("relu", [False, True])
def test_fixed_statistics_are_one_slope_and_offset_a_channel(relu):
    x, slope, offset = random(4, 3, 5, 4, 6), random(5, 6), random(6, 6)
    expected = np.asarray(x) * np.asarray(slope) + np.asarray(offset)
    got = normalise(x, slope, offset, relu)
    np.testing.assert_allclose(got, np.maximum(expected, 0) if relu else expected, rtol=1e-5, atol=1e-6)
