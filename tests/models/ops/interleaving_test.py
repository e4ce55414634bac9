"""Each form of the shuffle of two halves of channels: every number where it belongs, none changed; gradients too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import random

from reid_jax.models.ops.interleaving import FORMS


def shuffled(first, second):
    """ShuffleNet's: (groups, c) -> (c, groups)."""
    joined = np.concatenate([first, second], -1)
    *size, channels = joined.shape
    return joined.reshape(*size, 2, channels // 2).swapaxes(-1, -2).reshape(*size, channels)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5), (3, 5, 4, 6), (2, 16, 8, 6)])
def test_a_transposition_of_the_two_groups(form, dtype, shape):
    first, second = random(0, *shape).astype(dtype), random(1, *shape).astype(dtype)
    y, pull_back = jax.vjp(FORMS[form], first, second)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, shuffled(first, second))
    gradient = random(2, *y.shape).astype(dtype)
    to_first, to_second = pull_back(gradient)
    np.testing.assert_array_equal(shuffled(to_first, to_second), gradient)
