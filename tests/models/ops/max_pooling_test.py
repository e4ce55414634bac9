"""Each form of the maximum against its windows taken one by one, ties and gradients included."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops import max_pooling


def windows_one_by_one(x):
    """The maxima, and the gradients to the first of equal ones in row-major order."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    n, height, width, c = x.shape
    y = np.zeros((n, -(-height // 2), -(-width // 2), c))
    for p in range(y.shape[1]):
        for q in range(y.shape[2]):
            y[:, p, q] = padded[:, 2 * p : 2 * p + 3, 2 * q : 2 * q + 3].max((1, 2))

    def gradients(cotangent):
        to_padded = np.zeros_like(padded)
        for image, p, q, channel in np.ndindex(y.shape):
            window = padded[image, 2 * p : 2 * p + 3, 2 * q : 2 * q + 3, channel]
            i, j = np.unravel_index(np.argmax(window), (3, 3))
            to_padded[image, 2 * p + i, 2 * q + j, channel] += cotangent[image, p, q, channel]
        return (to_padded[:, 1:-1, 1:-1],)

    return y, gradients


@pytest.mark.parametrize("form", max_pooling.FORMS)
@pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 7), (5, 6), (1, 2)])
def test_values_and_gradients(form, height, width):
    x = jnp.round(random(12, 2, height, width, 3))  # many are equal
    assert_same(max_pooling.FORMS[form], windows_one_by_one, x)


@pytest.mark.parametrize("form", max_pooling.FORMS)
def test_bfloat16_stays_bfloat16(form):
    x = random(9, 1, 4, 4, 2).astype(jnp.bfloat16)
    assert max_pooling.FORMS[form](x).dtype == jnp.bfloat16
