"""Each form of sharing an array: itself twice, and the sum of the two readers' gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import random

from reid_jax.models.ops.sharing import FORMS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 16, 8, 4), (3, 4)])
def test_both_are_the_array_and_their_gradients_add_up(form, shape):
    x, weight = random(0, *shape), random(1, *shape)
    first, second = FORMS[form](x)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_array_equal(second, x)

    def total(x):
        first, second = FORMS[form](x)
        return jnp.sum(weight * first) + jnp.sum(jnp.sin(second))

    np.testing.assert_allclose(jax.grad(total)(x), weight + jnp.cos(x), rtol=1e-6, atol=1e-6)
