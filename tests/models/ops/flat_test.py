"""Feature maps with their pixels in one row."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import random

from reid_jax.models.ops.flat import as_image, fits, flat


def test_there_and_back():
    x = random(0, 2, 3, 5, 4)
    assert flat(x).shape == (2, 4, 15)
    np.testing.assert_array_equal(flat(x)[1, 2], x[1, :, :, 2].reshape(-1))
    np.testing.assert_array_equal(as_image(flat(x), 3, 5), x)


@pytest.mark.parametrize(
    ("shape", "whole"),
    [
        ((32, 80, 32, 64), True),
        ((32, 24, 28, 64), True),  # 672 of 768
        ((32, 20, 8, 192), False),  # 160 of 256
        ((32, 10, 4, 384), False),
        ((32, 128), False),
    ],
)
def test_maps_that_fill_their_rows(shape, whole):
    assert fits(jnp.zeros(shape, jnp.bool)) == whole
