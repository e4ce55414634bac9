import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval import histogram, pairs
from reid_jax.retrieval.protocol import Labels
from reid_jax.retrieval.ranking import rank, rank_distances
from reid_jax.retrieval.verification import verify, verify_distances

RATES = {"1e-3": Fraction(1, 1000), "1e-2": Fraction(1, 100)}


def _labels(seed, nq=40, ng=120, identities=8, cameras=3):
    rng = np.random.default_rng(seed)
    return Labels(
        # Two query identities have no match; gallery identity 0 is a distractor; a camera may be unknown.
        query_identity=rng.integers(1, identities + 2, nq),
        query_camera=rng.integers(-1, cameras, nq),
        gallery_identity=rng.integers(0, identities, ng),
        gallery_camera=rng.integers(-1, cameras, ng),
    )


def _rows(labels, query=slice(None), gallery=slice(None)):
    return Labels(
        labels.query_identity[query],
        labels.query_camera[query],
        labels.gallery_identity[gallery],
        labels.gallery_camera[gallery],
    )


def _split(distance, labels):
    """Positives and negatives of a whole matrix of distances, pair by pair."""
    query_identity, query_camera, gallery_identity, gallery_camera = dataclasses.astuple(labels)
    positive, negative = [], []
    for i in range(len(query_identity)):
        for j in range(len(gallery_identity)):
            if gallery_identity[j] != query_identity[i]:
                negative.append(distance[i, j])
            elif query_camera[i] == -1 or gallery_camera[j] != query_camera[i]:
                positive.append(distance[i, j])
    return np.array(positive, np.float32), np.array(negative, np.float32)


def _by_trying_every_threshold(positive, negative):
    """The metrics in exact fractions, from the definitions."""
    observed = np.unique(np.concatenate([positive, negative]))
    # A sorted look-up only makes trying quick: how many are <= each threshold.
    rates = [
        (t, Fraction(int(fp), len(negative)), Fraction(int(tp), len(positive)))
        for t, fp, tp in zip(
            observed,
            np.searchsorted(np.sort(negative), observed, "right"),
            np.searchsorted(np.sort(positive), observed, "right"),
            strict=True,
        )
    ]
    metrics = {}
    for name, limit in RATES.items():
        allowed = [(t, tp) for t, fp, tp in rates if fp <= limit]
        metrics[f"tpr_at_fpr_{name}"] = float(max((tp for _, tp in allowed), default=0))
        metrics[f"distance_at_fpr_{name}"] = float(max((t for t, _ in allowed), default=np.nan))
    _, t, rate = min((abs(fp - (1 - tp)), t, (fp + 1 - tp) / 2) for t, fp, tp in rates)
    metrics["equal_error_rate"] = float(rate)
    metrics["distance_at_equal_error"] = float(t)
    return metrics


def _assert_right(result, positive, negative):
    expected = _by_trying_every_threshold(positive, negative)
    assert list(result.metrics) == list(expected)
    for name, value in expected.items():
        assert type(result.metrics[name]) is float
        np.testing.assert_allclose(result.metrics[name], value, rtol=1e-12 if "rate" in name or "tpr" in name else 0)
    assert (result.positives, result.negatives) == (len(positive), len(negative))

    assert result.distance.dtype == np.float32
    assert (np.diff(result.distance) > 0).all()
    assert len(result.distance) <= 2000
    for t, fp, tp in zip(result.distance, result.false_positive_rate, result.true_positive_rate, strict=True):
        assert fp == np.mean(negative <= t)
        assert tp == np.mean(positive <= t)
    assert result.false_positive_rate[0] == 0
    assert result.true_positive_rate[0] == np.mean(positive < negative.min())
    assert result.false_positive_rate[-1] == result.true_positive_rate[-1] == 1
    used = [value for name, value in expected.items() if name.startswith("distance") and not np.isnan(value)]
    assert np.isin(used, result.distance).all()


@pytest.mark.parametrize("seed", range(3))
def test_verify_is_the_try_of_every_threshold(seed):
    rng = np.random.default_rng(seed)
    labels = _labels(seed)
    # Quantised: float32 distances are exact, and many are equal.
    query, gallery = (rng.integers(-1, 2, (n, 6)).astype(np.float32) for n in (40, 120))
    gallery[:, 0] += labels.gallery_identity
    query[:, 0] += labels.query_identity
    result = verify(query, gallery, labels, rank(query, gallery, labels))
    distance = np.sqrt(((query[:, None] - gallery) ** 2).sum(2))
    _assert_right(result, *_split(distance, labels))


def _matrices():
    rng = np.random.default_rng(5)
    noise = rng.random((40, 120), dtype=np.float32)
    same = np.equal.outer(_labels(0).query_identity, _labels(0).gallery_identity)
    return {
        "overlapping": noise - 0.3 * same,
        "of any sign and size": (noise - 0.5 - 0.2 * same) * np.float32(10.0) ** rng.integers(-30, 30, noise.shape),
        "within one coarse bin": np.float32(1) + (noise * 900 - 200 * same + 200).astype(int) * np.float32(2**-23),
        "in few coarse bins": np.float32(1) + (noise * 9e4 - 2e4 * same + 2e4).astype(int) * np.float32(2**-23),
        "separated": noise + 2 * ~same,
        "the wrong way round": noise + 2 * same,
        "all equal": np.full_like(noise, 0.25),
        "zeros of both signs": np.where(noise < 0.3, np.float32(-0.0), np.where(noise < 0.6, np.float32(0), noise)),
        "two values": np.where(noise < 0.5 + 0.4 * same, np.float32(1), np.float32(2)),
    }


@pytest.mark.parametrize("kind", list(_matrices()))
def test_given_distances_of_every_kind(kind):
    matrix, labels = _matrices()[kind].astype(np.float32), _labels(0)
    ranking = rank_distances(lambda rows: matrix[rows], labels)
    result = verify_distances(lambda rows: matrix[rows], labels, ranking)
    _assert_right(result, *_split(matrix, labels))


def test_a_large_evaluation_has_a_fine_curve_within_its_points():
    rng = np.random.default_rng(6)
    nq, ng = 50, 500
    labels = _labels(6, nq, ng, identities=40)
    same = np.equal.outer(labels.query_identity, labels.gallery_identity)
    matrix = (1.2 - 0.3 * same + 0.1 * rng.standard_normal((nq, ng))).astype(np.float32)
    ranking = rank_distances(lambda rows: matrix[rows], labels)
    result = verify_distances(lambda rows: matrix[rows], labels, ranking)
    _assert_right(result, *_split(matrix, labels))
    rate = result.false_positive_rate
    # No gap on the logarithmic axis but between small whole numbers of false positives, nor on the linear one.
    above = rate[rate > 100 / result.negatives]
    assert (np.diff(np.log10(above)) < 0.03).all()
    assert (np.diff(rate) < 0.01).all()


def test_a_positive_at_the_distance_of_the_first_negative_too_many_is_not_accepted():
    # 1,000 negatives: one may be accepted at 1e-3. The second stands at the distance of a positive.
    distance = np.concatenate([[0.1, 0.5, 0.3, 0.5], np.linspace(1, 2, 998)]).astype(np.float32)[None]
    identity = np.r_[7, 7, 8, 8, np.full(998, 9)]
    labels = Labels([7], [0], identity, np.ones(1002, int))
    ranking = rank_distances(lambda rows: distance[rows], labels)
    result = verify_distances(lambda rows: distance[rows], labels, ranking)
    assert result.metrics["tpr_at_fpr_1e-3"] == 0.5
    assert result.metrics["distance_at_fpr_1e-3"] == pytest.approx(0.3)  # a negative's: still accepted
    assert result.metrics["tpr_at_fpr_1e-2"] == 1.0
    assert result.distance[0] == np.float32(0.1)


def test_nothing_can_be_accepted():
    distance = np.float32([[0.5, 0.5, 0.5]])
    labels = Labels([1], [0], [1, 2, 3], [1, 1, 1])
    ranking = rank_distances(lambda rows: distance[rows], labels)
    result = verify_distances(lambda rows: distance[rows], labels, ranking)
    assert result.metrics["tpr_at_fpr_1e-3"] == 0
    assert np.isnan(result.metrics["distance_at_fpr_1e-3"])
    assert result.metrics["equal_error_rate"] == 0.5
    assert result.distance.tolist() == [-np.inf, 0.5]
    assert result.false_positive_rate.tolist() == result.true_positive_rate.tolist() == [0, 1]


def test_chunks_blocks_and_sums_do_not_change_a_bit(monkeypatch):
    rng = np.random.default_rng(7)
    labels = _labels(7, nq=60, ng=700)
    query, gallery = (rng.standard_normal((n, 40), dtype=np.float32) for n in (60, 700))
    gallery[:300] = gallery[300:600]  # positives and negatives at one distance, to the bit
    ranking = rank(query, gallery, labels)
    one = verify(query, gallery, labels, ranking)
    monkeypatch.setattr(pairs, "CHUNK_BYTES", 128 * 40 * 4)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 1)
    monkeypatch.setattr(histogram, "_PAIRS_AT_ONCE", 5000)
    many = verify(query, gallery, labels, ranking)
    assert one.metrics == many.metrics
    for field in ("distance", "false_positive_rate", "true_positive_rate"):
        np.testing.assert_array_equal(getattr(one, field), getattr(many, field))


def test_order_of_gallery_and_queries_does_not_matter():
    rng = np.random.default_rng(8)
    labels = _labels(8)
    query, gallery = (rng.standard_normal((n, 12), dtype=np.float32) for n in (40, 120))
    first, second = rng.permutation(40), rng.permutation(120)
    moved = _rows(labels, first, second)
    one = verify(query, gallery, labels, rank(query, gallery, labels))
    two = verify(query[first], gallery[second], moved, rank(query[first], gallery[second], moved))
    assert one.metrics == two.metrics
    np.testing.assert_array_equal(one.true_positive_rate, two.true_positive_rate)


def test_a_duplicated_gallery_changes_no_rate():
    rng = np.random.default_rng(9)
    labels = _labels(9)
    query, gallery = (rng.standard_normal((n, 12), dtype=np.float32) for n in (40, 120))
    twice = _rows(labels, gallery=np.tile(np.arange(120), 2))
    doubled = np.concatenate([gallery, gallery])
    one = verify(query, gallery, labels, rank(query, gallery, labels))
    two = verify(query, doubled, twice, rank(query, doubled, twice))
    assert one.metrics == two.metrics
    assert (two.positives, two.negatives) == (2 * one.positives, 2 * one.negatives)


def _one_query(gallery_identity, query_identity=1):
    embedding = np.eye(len(gallery_identity), 4, dtype=np.float32)
    labels = Labels([query_identity], [0], gallery_identity, [1] * len(gallery_identity))
    return embedding[:1], embedding, labels


@pytest.mark.parametrize(
    ("identities", "message"),
    [([2, 3], "query identities do not appear in gallery"), ([1, 1], "hold a single identity")],
)
def test_one_kind_of_pairs_only_is_an_error(identities, message):
    query, gallery, labels = _one_query(identities)
    with pytest.raises(InputError, match=message) as caught:
        verify(query, gallery, labels, rank(query, gallery, labels))
    assert "\n" not in str(caught.value)


def test_another_evaluations_ranking_is_refused():
    query, gallery, labels = _one_query([1, 1, 2])
    other = rank(query, gallery, dataclasses.replace(labels, gallery_identity=[1, 2, 2]))
    with pytest.raises(InputError, match="the ranking has 1 matches of 1 queries, but the labels say 2 of 1"):
        verify(query, gallery, labels, other)


def test_distances_that_change_are_refused():
    rng = np.random.default_rng(10)
    labels = _labels(10)
    ranking = rank_distances(lambda rows: np.ones((len(rows), 120)), labels)
    with pytest.raises(InputError, match="the same each time"):
        verify_distances(lambda rows: rng.random((len(rows), 120)), labels, ranking)
