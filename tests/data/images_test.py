"""The protocol of labelled images: every kind of them has what it says, and gives the same rows."""

import inspect

import numpy as np
import pytest
from made_sets import write_set

from reid_jax.data.images import Images, Split
from reid_jax.data.low_resolution import LowResolution
from reid_jax.data.split import open_splits

SIZE = (16, 8)
LABELS = ("identity", "camera", "tracklet", "origin", "name")


@pytest.fixture
def stored(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    return open_splits("market1501", ["train"], tmp_path, SIZE)[0]


def test_every_kind_of_images_has_what_the_protocol_says(stored):
    loaded = stored.load()
    named = {name for name, member in inspect.getmembers(Images) if not name.startswith("_") and member is not None}
    assert named == {*LABELS, "image_size", "select", "blocks"}
    for images in (stored, loaded, LowResolution(stored, 16), LowResolution(loaded, 16)):
        assert named <= set(dir(images))
        assert images.image_size == SIZE
        assert len(images) == 3
        for label in LABELS:
            np.testing.assert_array_equal(getattr(images, label), getattr(loaded, label))
        rows = images.select(np.array([2, 0]))
        assert isinstance(rows, Split)
        np.testing.assert_array_equal(rows.image, loaded.image[[2, 0]])
        (block,) = images.blocks(9)
        np.testing.assert_array_equal(block.image, loaded.image)
