"""Feature maps with their pixels in one row."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import random

from reid_jax.models import ops
from reid_jax.models.ops.flat import as_image, fits, flat, together


@pytest.mark.parametrize("group", [1, 2])
def test_there_and_back(group):
    x = random(0, 4, 3, 5, 6)
    assert flat(x, group).shape == (4 // group, group * 6, 15)
    np.testing.assert_array_equal(flat(x, group).reshape(4, 6, 15)[1, 2], x[1, :, :, 2].reshape(-1))
    np.testing.assert_array_equal(as_image(flat(x, group), 3, 5, group), x)


@pytest.mark.parametrize(
    ("images", "channels", "group"),
    [(32, 32, 4), (32, 48, 2), (32, 96, 1), (32, 200, 1), (32, 1, 4), (18, 16, 2), (17, 16, 1)],
)
def test_as_many_images_together_as_their_channels_fill_a_row(images, channels, group):
    assert together(images, channels) == group


@pytest.mark.parametrize(
    ("images", "devices", "group"), [(32, 2, 2), (32, 4, 1), (128, 4, 4), (1024, 256, 1), (6, 1, 1)]
)
def test_no_more_images_together_than_leave_a_device_eight_groups(images, devices, group):
    with ops.traced_for("tpu", devices):
        assert together(images, 16) == group
    assert together(32, 16) == 4


@pytest.mark.parametrize(
    ("shape", "whole"),
    [
        ((32, 80, 32, 64), True),
        ((32, 40, 16, 96), True),
        ((32, 24, 28, 64), False),  # 672 of 768
        ((32, 20, 8, 192), False),  # 160 of 256
        ((32, 10, 4, 384), False),
        ((32, 128), False),
    ],
)
def test_maps_that_fill_their_rows(shape, whole):
    assert fits(jnp.zeros(shape, jnp.bool)) == whole
