"""Crops of regions against independent sampling, and the gradient to their centres."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bilinear import bilinear_samples
from same_gradients import random

from reid_jax.models import ops


@pytest.mark.parametrize("align_corners", [True, False])
def test_crop_equals_sampling_theta_then_resizing(align_corners):
    image = np.asarray(random(11, 2, 20, 8, 3))
    centres = np.array([[[0.1, -0.6], [0.0, 0.9]], [[-0.3, 0.0], [0.7, 0.2]]], np.float32)
    got = ops.crop_regions(jnp.asarray(image), jnp.asarray(centres), 6, 7, 0.25, align_corners)
    got = got.reshape(2, 2, 6, 7, 3)

    def positions(size, scale, centre):
        if align_corners:
            return (scale * np.linspace(-1, 1, size) + centre + 1) / 2 * (size - 1)
        grid = (2 * np.arange(size) + 1) / size - 1
        return ((scale * grid + centre + 1) * size - 1) / 2

    for n in range(2):
        for region in range(2):
            tx, ty = centres[n, region]
            cropped = bilinear_samples(image[n], positions(20, 0.25, ty), positions(8, 1.0, tx))
            want = bilinear_samples(cropped, np.linspace(0, 19, 6), np.linspace(0, 7, 7))
            np.testing.assert_allclose(got[n, region], want, atol=1e-5)


def test_gradients_reach_the_region_centres():
    ramp = jnp.broadcast_to(jnp.arange(20.0)[:, None, None], (1, 20, 8, 1))
    centres = jnp.array([[[0.0, 0.1]]])
    gradient = jax.grad(lambda c: jnp.mean(ops.crop_regions(ramp, c, 6, 7)[:, :, 3]))(centres)
    # Moving the centre by 1 moves the samples by half the height, (20 - 1) / 2 pixels of a ramp of slope 1.
    np.testing.assert_allclose(gradient[0, 0, 1], 9.5, rtol=1e-4)
