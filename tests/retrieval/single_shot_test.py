import dataclasses

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval import pairs
from reid_jax.retrieval.protocol import Labels
from reid_jax.retrieval.single_shot import single_shot_cmc, single_shot_metrics, single_shot_ranks


def _case(seed, nq=30, ng=160, identities=12, cameras=3, d=5):
    """Quantised embeddings: float32 distances are exact, and many are equal."""
    rng = np.random.default_rng(seed)
    query, gallery = (rng.integers(-1, 2, (n, d)).astype(np.float32) for n in (nq, ng))
    labels = Labels(
        # The last query identity is not in the gallery; a camera may be unknown.
        query_identity=rng.integers(1, identities + 1, nq),
        query_camera=rng.integers(-1, cameras, nq),
        gallery_identity=rng.integers(0, identities, ng),
        gallery_camera=rng.integers(-1, cameras, ng),
    )
    return query, gallery, labels


def _slow_ranks(query, gallery, labels, repeats, seed):
    """The protocol query by query, with the draw as it is documented."""
    query_identity, query_camera, gallery_identity, gallery_camera = dataclasses.astuple(labels)
    ranks = np.zeros((repeats, len(query)), int)
    by_identity = sorted(range(len(gallery)), key=lambda j: (gallery_identity[j], j))
    for r in range(repeats):
        permutation = np.random.default_rng([seed, r]).permutation(len(gallery))
        number = {item: permutation[place] for place, item in enumerate(by_identity)}
        for i in range(len(query)):
            drawn = {}
            for j in range(len(gallery)):
                identity = gallery_identity[j]
                if identity == query_identity[i] and query_camera[i] == gallery_camera[j] != -1:
                    continue
                if identity not in drawn or number[j] < number[drawn[identity]]:
                    drawn[identity] = j
            if query_identity[i] in drawn:
                distance = {k: ((query[i] - gallery[j]) ** 2).sum() for k, j in drawn.items()}
                own = distance.pop(query_identity[i])
                ranks[r, i] = 1 + sum(d <= own for d in distance.values())
    return ranks


@pytest.mark.parametrize("seed", range(3))
def test_against_the_protocol_query_by_query(seed):
    query, gallery, labels = _case(seed)
    ranks = single_shot_ranks(query, gallery, labels, repeats=4, seed=seed)
    expected = _slow_ranks(query, gallery, labels, repeats=4, seed=seed)
    assert ranks.dtype == np.int32
    np.testing.assert_array_equal(ranks, expected)
    found = expected[0] > 0
    assert 0 < found.sum() < len(query)

    metrics = single_shot_metrics(ranks)
    for k in (1, 5, 10, 20):
        by_draw = (expected[:, found] <= k).mean(axis=1)
        assert metrics[f"rank{k}"] == pytest.approx(by_draw.mean())
        assert metrics[f"rank{k}_std"] == pytest.approx(by_draw.std())
    by_draw = (1 / expected[:, found]).mean(axis=1)
    assert metrics["mAP"] == pytest.approx(by_draw.mean())
    assert metrics["mAP_std"] == pytest.approx(by_draw.std())
    assert metrics["queries"] == len(query)
    assert metrics["queries_without_match"] == len(query) - found.sum()
    assert all(type(value) is float for value in metrics.values())
    curve = single_shot_cmc(ranks, 12)
    assert curve[0] == pytest.approx(metrics["rank1"])
    assert curve[9] == pytest.approx(metrics["rank10"])
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1  # of 12 identities the own one is among the first 12


def test_the_mean_of_many_draws_is_the_expectation():
    # Of three identities with an image each before, at and behind the own two, everything is known.
    query = np.float32([[0]])
    gallery = np.float32([[1], [3], [2], [4], [2], [9]])
    labels = Labels(
        query_identity=[5],
        query_camera=[0],
        gallery_identity=[5, 5, 6, 6, 7, 5],
        gallery_camera=[1, 1, 0, 0, 0, 0],  # the last is the query's own camera's: never drawn
    )
    ranks = single_shot_ranks(query, gallery, labels, repeats=1000)[:, 0]
    # Own 1 (1/2): rank 1. Own 3: 7 stands before; 6 does if its 2 is drawn (1/2).
    share = np.bincount(ranks, minlength=4)[1:] / 1000
    np.testing.assert_allclose(share, [1 / 2, 1 / 4, 1 / 4], atol=4 * 0.5 / 1000**0.5)


def test_draws_do_not_depend_on_queries_blocks_or_chunks(monkeypatch):
    query, gallery, labels = _case(5)
    rng = np.random.default_rng(0)
    query += rng.normal(0, 0.1, query.shape).astype(np.float32)
    one = single_shot_ranks(query, gallery, labels, repeats=3)
    some = rng.permutation(30)[:11]
    fewer = dataclasses.replace(
        labels, query_identity=labels.query_identity[some], query_camera=labels.query_camera[some]
    )
    np.testing.assert_array_equal(one[:, some], single_shot_ranks(query[some], gallery, fewer, repeats=3))
    np.testing.assert_array_equal(one[:2], single_shot_ranks(query, gallery, labels, repeats=2))
    assert (one != single_shot_ranks(query, gallery, labels, repeats=3, seed=1)).any()
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 1)
    np.testing.assert_array_equal(one, single_shot_ranks(query, gallery, labels, repeats=3))


def test_identities_may_be_shuffled_among_each_other():
    query, gallery, labels = _case(6)
    order = np.argsort(labels.gallery_identity * 7 % 12, kind="stable")  # the order within each stays
    moved = dataclasses.replace(
        labels, gallery_identity=labels.gallery_identity[order], gallery_camera=labels.gallery_camera[order]
    )
    one = single_shot_ranks(query, gallery, labels, repeats=3)
    np.testing.assert_array_equal(one, single_shot_ranks(query, gallery[order], moved, repeats=3))


def test_a_gallery_of_many_identities_is_streamed(monkeypatch):
    rng = np.random.default_rng(7)
    query, gallery = (rng.standard_normal((n, 16), dtype=np.float32) for n in (40, 900))
    labels = Labels(
        query_identity=rng.integers(0, 450, 40),
        query_camera=rng.integers(0, 2, 40),
        gallery_identity=np.arange(900) % 450,
        gallery_camera=rng.integers(0, 2, 900),
    )
    one = single_shot_ranks(query, gallery, labels, repeats=2)
    monkeypatch.setattr(pairs, "CHUNK_BYTES", 128 * 16 * 4)
    np.testing.assert_array_equal(one, single_shot_ranks(query, gallery, labels, repeats=2))


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"repeats": 0}, "repeats is 0"),
        ({}, {"seed": -1}, "seed is -1"),
        ({"query_identity": np.full(30, 99)}, {}, "of 30 queries 30 have an identity that the gallery lacks"),
        ({"query_camera": np.zeros(3, int)}, {}, "query_camera has shape"),
    ],
)
def test_bad_arguments(changes, arguments, message):
    query, gallery, labels = _case(0)
    with pytest.raises(InputError, match=message) as caught:
        single_shot_ranks(query, gallery, dataclasses.replace(labels, **changes), **arguments)
    assert "\n" not in str(caught.value)


def test_bad_ranks():
    with pytest.raises(InputError, match="max_rank is 0"):
        single_shot_cmc(np.ones((1, 1), np.int32), 0)
    for function in (lambda ranks: single_shot_cmc(ranks, 5), single_shot_metrics):
        with pytest.raises(InputError, match="query identities do not appear in gallery"):
            function(np.zeros((2, 3), np.int32))
