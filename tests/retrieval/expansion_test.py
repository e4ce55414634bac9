import dataclasses

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval.expansion import expand_queries
from reid_jax.retrieval.protocol import Labels

STREAMS = (5, 3)


def unit(rows):
    """Each stream scaled to norm 1/sqrt(2)."""
    parts = np.split(np.asarray(rows, np.float64), [STREAMS[0]], axis=1)
    return np.concatenate([p / np.linalg.norm(p, axis=1, keepdims=True) for p in parts], axis=1) / np.sqrt(2)


def case(seed, nq=25, ng=60, identities=6, cameras=3):
    rng = np.random.default_rng(seed)
    labels = Labels(
        query_identity=rng.integers(0, identities + 2, nq),
        query_camera=rng.integers(-1, cameras, nq),
        gallery_identity=rng.integers(0, identities, ng),
        gallery_camera=rng.integers(-1, cameras, ng),
    )
    query, gallery = (unit(rng.standard_normal((n, sum(STREAMS)))).astype(np.float32) for n in (nq, ng))
    return query, gallery, labels


def slow(query, gallery, labels, k):
    """One query at a time, over a list of the valid gallery."""
    result = []
    for q, identity, camera in zip(query, labels.query_identity, labels.query_camera, strict=True):
        valid = []
        for g, gi, gc in zip(gallery, labels.gallery_identity, labels.gallery_camera, strict=True):
            if not (gi == identity and gc == camera and camera != -1):
                valid.append((float(((q.astype(float) - g) ** 2).sum()), len(valid), g))
        valid.sort(key=lambda item: item[:2])
        result.append(np.mean([q, *(g for _, _, g in valid[:k])], axis=0, dtype=float))
    return unit(result)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 5, 200])
def test_is_the_mean_with_the_nearest_valid_items(seed, k):
    query, gallery, labels = case(seed)
    result = expand_queries(query, gallery, labels, k, streams=STREAMS)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, slow(query, gallery, labels, k), atol=2e-6)
    for part in np.split(result, [STREAMS[0]], axis=1):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 0.5**0.5, rtol=1e-5)


def test_zero_items_leave_the_query():
    query, gallery, labels = case(4)
    result = expand_queries(query, gallery, labels, 0, streams=STREAMS)
    np.testing.assert_array_equal(result, query)
    assert not np.shares_memory(result, query)


def test_inputs_are_left_alone():
    query, gallery, labels = case(5)
    before = query.copy(), gallery.copy()
    expand_queries(query, gallery, labels, 3, streams=STREAMS)
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(gallery, before[1])


def test_the_same_person_under_the_same_camera_is_not_used():
    query, gallery, labels = case(6)
    labels = dataclasses.replace(labels, query_identity=np.zeros(25, int), query_camera=np.ones(25, int))
    labels.gallery_identity[:30], labels.gallery_camera[:30] = 0, 1
    result = expand_queries(query, gallery, labels, 4, streams=STREAMS)
    changed = gallery.copy()
    changed[:30] = query[0]  # the nearest there are, were they used
    kept = dataclasses.replace(labels, query_camera=np.full(25, 7))
    np.testing.assert_array_equal(expand_queries(query, changed, labels, 4, streams=STREAMS), result)
    assert not np.array_equal(expand_queries(query, changed, kept, 4, streams=STREAMS), result)


def test_identities_matter_only_through_the_removal():
    # Under cameras of their own nothing is removed, and who is who changes nothing: no match is picked out.
    query, gallery, labels = case(7)
    labels.query_camera[:] = 9
    result = expand_queries(query, gallery, labels, 4, streams=STREAMS)
    rng = np.random.default_rng(0)
    for identity in (labels.query_identity, labels.gallery_identity):
        rng.shuffle(identity)
    np.testing.assert_array_equal(expand_queries(query, gallery, labels, 4, streams=STREAMS), result)


def test_a_query_without_a_valid_item_stays():
    query, gallery, _ = case(8, nq=2, ng=6)
    labels = Labels([3, 4], [1, 1], [3] * 6, [1] * 6)
    result = expand_queries(query, gallery, labels, 2, streams=STREAMS)
    np.testing.assert_allclose(result[0], query[0], atol=1e-6)
    assert not np.allclose(result[1], query[1], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": -1}, "k is -1"),
        ({"streams": (5, 4)}, r"shape \[25, 8\], but streams of \(5, 4\)"),
        ({"labels": Labels([0], [0], [0] * 60, [0] * 60)}, "query_identity has shape"),
        ({"gallery": np.full((60, 8), np.nan, np.float32)}, "gallery embedding 0 .* not finite"),
    ],
)
def test_bad_input_is_named_in_one_line(changes, message):
    query, gallery, labels = case(9)
    arguments = {"query": query, "gallery": gallery, "labels": labels, "k": 2, "streams": STREAMS, **changes}
    with pytest.raises(InputError, match=message) as caught:
        expand_queries(**arguments)
    assert "\n" not in str(caught.value)
