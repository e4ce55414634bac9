"""Where batches come from: on the device or from disk they are the same images, whatever step a run begins at."""

import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.data import split
from reid_jax.data.sampler import IdentitySampler
from reid_jax.errors import InputError
from reid_jax.training import residence
from reid_jax.training.sources import ResidentSource, StreamedSource, batch_indices

DATASET = "synthetic:train_identities=6,test_identities=2,cameras=2,images_per_camera=2"
SIZE = (16, 8)
SAMPLER = IdentitySampler(np.repeat(np.arange(6), 4), identities=2, images=2)
STEPS, AT_ONCE = 12, 5


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A training split on disk: 24 images of 6 people."""
    (train,) = split.open_splits(DATASET, ["train"], tmp_path_factory.mktemp("data"), SIZE)
    return train


def label_of(train):
    return np.unique(train.identity, return_inverse=True)[1].astype(np.int32)


def sampler_of(train):
    return IdentitySampler(train.identity, identities=2, images=2)


def streamed(train, mesh, workers=0):
    return StreamedSource(train, label_of(train), sampler_of(train), 3, AT_ONCE, mesh, steps=STEPS, workers=workers)


def test_a_row_is_the_batch_of_a_step_whatever_the_chunks():
    whole = batch_indices(SAMPLER, 3, 0, 6, 6)
    np.testing.assert_array_equal(whole, [SAMPLER.indices(3, step) for step in range(6)])
    later = batch_indices(SAMPLER, 3, 4, 6, 5)
    assert (later.dtype, later.shape) == (np.int32, (5, 4))
    np.testing.assert_array_equal(later[:2], whole[4:])
    assert not later[2:].any()


@pytest.mark.parametrize(
    ("workers", "chunks"),
    # In order, from the middle as a resumed run reads, and chunks that are shorter; processes take seconds to start.
    [(0, [(0, 5), (5, 8), (10, 12), (2, 7)]), (2, [(4, 9), (9, 12)])],
)
def test_what_is_streamed_is_what_lies_on_the_device(stored, workers, chunks):
    mesh, train = parallel.one_device(), stored.load()
    resident = ResidentSource(train, label_of(train), sampler_of(train), 3, AT_ONCE, mesh)
    source = streamed(stored, mesh, workers)
    for begin, end in chunks:
        one, other = resident.batches(begin, end), source.batches(begin, end)
        assert one.count == other.count == AT_ONCE
        for step in range(end - begin):
            (image, label), (again, same) = one.at(step, mesh), other.at(step, mesh)
            np.testing.assert_array_equal(image, again)
            np.testing.assert_array_equal(label, same)
            np.testing.assert_array_equal(image, train.image[sampler_of(train).indices(3, begin + step)])
    source.close()
    assert resident.waited == 0
    assert source.waited > 0


def test_a_subset_stays_on_disk_and_is_the_same_images(stored):
    rows, train = np.array([5, 3, 20]), stored.load()
    few = stored.subset(rows)
    np.testing.assert_array_equal(few.pixels(np.array([2, 0])), train.image[[20, 5]])
    np.testing.assert_array_equal(few.load().image, train.image[rows])
    assert few.subset(np.array([False, True, False])).name.tolist() == [train.name[3]]
    assert len(stored) == len(train)


def test_each_device_gets_its_part_of_every_batch(stored):
    mesh = parallel.create_mesh()
    source = streamed(stored, mesh)
    image = source.batches(0, 2).image
    assert image.sharding.is_equivalent_to(parallel.by_example(mesh, axis=1), image.ndim)
    assert image.shape == (AT_ONCE, 4, *SIZE, 3)
    assert not np.asarray(image[2:]).any()
    source.close()


def test_an_image_that_cannot_be_decoded_is_named(stored, monkeypatch):
    def broken(data, size):
        raise InputError("it is damaged")

    monkeypatch.setattr(split, "decode", broken)
    source = streamed(stored, parallel.one_device())
    with pytest.raises(InputError, match=r"4 image\(s\) of synthetic.* train in .* cannot be decoded: .*damaged"):
        source.batches(0, 1)
    source.close()


def test_images_stay_on_the_device_up_to_a_share_of_its_memory(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(residence, "_memory", lambda: 4 * 1000 * 16 * 8 * 3)
        assert residence.is_resident("auto", 1000, SIZE)[0]
        assert not residence.is_resident("auto", 1001, SIZE)[0]
        assert residence.is_resident("resident", 10**9, SIZE)[0]
    resident, told = residence.is_resident("streamed", 1, SIZE)
    assert not resident
    assert told.startswith("streamed from disk: 1 of 16x8 pixels")
    assert residence.is_resident("auto", 1, SIZE)[0]
