"""Holding training identities out: whole people, a match for every query, and nothing but the seed decides."""

import numpy as np
import pytest

from reid_jax.data.hold_out import hold_out
from reid_jax.data.images import Split
from reid_jax.errors import InputError


def made(identity, camera, tracklet=None) -> Split:
    count = len(identity)
    image = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 1, 3), np.uint8)
    labels = [np.array(column, np.int32) for column in (identity, camera, tracklet or [-1] * count, [0] * count)]
    return Split(image, *labels, np.array([f"train/{row}.jpg" for row in range(count)]))


def test_hold_out_is_a_partition_by_identity_with_a_match_for_every_query():
    rng = np.random.default_rng(3)
    identity, camera = rng.integers(0, 40, 300), rng.integers(1, 5, 300)
    train = made(identity, camera)
    rest, query, gallery = hold_out(train, 12, seed=7)
    names = np.concatenate([rest.name, query.name, gallery.name])
    assert sorted(names) == sorted(train.name)
    held = set(query.identity)
    assert len(held) == 12
    assert set(gallery.identity) == held
    assert not held & set(rest.identity)
    assert len({*zip(query.identity.tolist(), query.camera.tolist(), strict=True)}) == len(query)
    for number, seen_by in zip(query.identity, query.camera, strict=True):
        assert ((gallery.identity == number) & (gallery.camera != seen_by)).any()


def test_hold_out_takes_one_query_a_camera_and_depends_on_the_seed_alone():
    train = made(np.repeat(np.arange(10), 12), np.tile(np.repeat([1, 2, 3], 4), 10))
    _, query, gallery = hold_out(train, 4, seed=1)
    assert (len(query), len(gallery)) == (4 * 3, 4 * 9)
    again = hold_out(train, 4, seed=1)[1]
    assert again.name.tolist() == query.name.tolist()
    assert hold_out(train, 4, seed=2)[1].name.tolist() != query.name.tolist()


@pytest.mark.parametrize(
    ("camera", "queries"),
    [([1, 2], 1), ([1, 1, 2], 1), ([1, 1, 2, 3], 2), ([1, 1, 2, 2, 3], 3), ([-1, -1, -1], 1)],
)
def test_hold_out_spares_what_the_queries_need_as_match(camera, queries):
    numbers = np.repeat([4, 5, 6], len(camera))
    _, query, gallery = hold_out(made(numbers, camera * 3), 1, seed=0)
    assert len(query) == queries
    for seen_by in query.camera:
        assert ((gallery.camera != seen_by) | (gallery.camera < 0)).any()


def test_hold_out_never_draws_identities_of_one_camera():
    train = made([1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 1, 2, 1, 1, 3, 3])
    assert set(hold_out(train, 2, seed=0)[1].identity) == {1, 2}
    with pytest.raises(InputError, match="cannot hold 3 of 4"):
        hold_out(train, 3, seed=0)
    with pytest.raises(InputError, match="at least 1"):
        hold_out(train, 0, seed=0)


def test_hold_out_takes_whole_tracklets():
    # Each of six people walks past each of three cameras twice, three frames a time; frames are out of order.
    rng = np.random.default_rng(0)
    tracklet = rng.permutation(np.repeat(np.arange(36), 3))
    train = made(tracklet // 6, 1 + tracklet % 3, tracklet.tolist())
    rest, query, gallery = hold_out(train, 2, seed=3)
    assert len(rest) + len(query) + len(gallery) == len(train)
    assert not set(query.tracklet) & set(gallery.tracklet)
    for part, tracklets in ((query, 2 * 3), (gallery, 2 * 3)):
        numbers, frames = np.unique(part.tracklet, return_counts=True)
        assert len(numbers) == tracklets
        assert (frames == 3).all()
    assert len({*zip(query.identity.tolist(), query.camera.tolist(), strict=True)}) == 6


def test_one_persons_tracklet_and_stills_are_items_alike():
    train = made([1, 1, 1, 1, 2, 2, 3, 3], [1, 1, 2, 2, 1, 1, 1, 1], [5, 5, 6, 6, -1, -1, -1, -1])
    _, query, gallery = hold_out(train, 1, seed=0)
    assert sorted([set(query.tracklet.tolist()), set(gallery.tracklet.tolist())], key=min) == [{5}, {6}]
