"""Each form of a batch's mean and variance against their definition, gradients included."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops.batch_statistics import FORMS

forms = pytest.mark.parametrize("form", FORMS)


def definition(x):
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    centred = x - x.mean(axes)

    def gradients(cotangent):
        to_mean, to_variance = cotangent
        return (to_mean / count + 2 * centred * to_variance / count,)

    return np.stack([x.mean(axes), (centred**2).mean(axes)]), gradients


@forms
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 16, 8, 6), (9, 6)])
def test_values_and_gradients(form, shape):
    assert_same(lambda x: jnp.stack(FORMS[form](x)), definition, 1 + 2 * random(0, *shape), tolerance=5e-5)


@forms
def test_a_constant_channel_has_no_variance_below_zero(form):
    _, variance = FORMS[form](jnp.full((8, 2), 1e3))
    assert np.all(variance >= 0)


@forms
def test_they_are_float32_whatever_the_map_is(form):
    x = (100 + random(7, 8, 8, 4)).astype(jnp.bfloat16)
    mean, variance = FORMS[form](x)
    assert mean.dtype == variance.dtype == jnp.float32
    np.testing.assert_allclose(mean, np.mean(np.asarray(x, np.float32), (0, 1)), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(np.asarray(x, np.float64), (0, 1)), rtol=1e-2)
