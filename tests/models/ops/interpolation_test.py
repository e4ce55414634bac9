"""The bilinear resize against independent sampling."""

import jax.numpy as jnp
import numpy as np
from bilinear import bilinear_samples
from same_gradients import random

from reid_jax.models import ops


def test_resize_aligns_corners():
    image = np.asarray(random(10, 1, 5, 4, 2))
    got = ops.resize(jnp.asarray(image), 10, 8)[0]
    want = bilinear_samples(image[0], np.linspace(0, 4, 10), np.linspace(0, 3, 8))
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_array_equal(got[-1, -1], image[0, -1, -1])
