"""Images that stay on the devices: the same pixels, whatever rows they lie in."""

import jax
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.data.resident import ResidentImages, rows_of


@pytest.mark.parametrize("size", [(16, 8), (5, 3)])
def test_images_are_read_by_their_numbers(size):
    image = np.random.default_rng(0).integers(0, 256, (7, *size, 3), np.uint8)
    resident = ResidentImages.of(image, parallel.create_mesh())
    assert (resident.shape, len(resident)) == (image.shape, 7)
    assert resident.rows.is_fully_replicated
    indices = np.array([[6, 0], [3, 3]], np.int32)
    read = jax.jit(lambda resident, indices: resident[indices])(resident, indices)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image[indices])


@pytest.mark.parametrize(("size", "rows"), [((160, 64), (240, 128)), ((256, 128), (768, 128)), ((5, 3), (45, 1))])
def test_rows_are_as_wide_as_a_devices(size, rows):
    assert rows_of(size) == rows
