import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval.metrics import (
    average_precision,
    cmc,
    format_matrix,
    format_metrics,
    inverse_negative_penalty,
    retrieval_metrics,
)
from reid_jax.retrieval.protocol import Labels
from reid_jax.retrieval.ranking import Ranking, rank


def _ranking(*negatives_before):
    """A ranking from each query's negatives before its matches."""
    lengths = [len(row) for row in negatives_before]
    flat = np.array([n for row in negatives_before for n in row], np.int32)
    return Ranking(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        negatives_before=flat,
        distance=np.zeros(len(flat), np.float32),
        removed=np.zeros(len(lengths), np.int32),
    )


def _walk(valid_matches):
    """Metrics of one query by walking down its sorted list, as Market-1501's script does."""
    good = sum(valid_matches)
    found, step, trapezoid = 0, 0.0, 0.0
    old_recall, old_precision = 0.0, 1.0
    first = last = None
    for j, match in enumerate(valid_matches):
        if match:
            found += 1
            first = first or j + 1
            last = j + 1
            step += found / (j + 1) / good
        recall, precision = found / good, found / (j + 1)
        trapezoid += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
        if found == good:
            break
    return first, step, trapezoid, good / last


def test_by_hand():
    # + - + - -: matches at ranks 1 and 3.
    one = _ranking([0, 1])
    assert average_precision(one).tolist() == pytest.approx([(1 + 2 / 3) / 2])
    # First match: (1 + 1) / 2. Second: (1/2 before it + 2/3) / 2.
    assert average_precision(one, "trapezoid").tolist() == pytest.approx([(1 + (1 / 2 + 2 / 3) / 2) / 2])
    assert inverse_negative_penalty(one).tolist() == pytest.approx([2 / 3])
    # A single match at rank 2: precision is 0 one item before.
    two = _ranking([1])
    assert average_precision(two).tolist() == [0.5]
    assert average_precision(two, "trapezoid").tolist() == [0.25]
    assert cmc(two, 3).tolist() == [0, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_against_a_walk_down_the_sorted_list(seed):
    rng = np.random.default_rng(seed)
    nq, ng = 60, 250
    query = rng.integers(-1, 2, (nq, 5)).astype(np.float32)
    gallery = rng.integers(-1, 2, (ng, 5)).astype(np.float32)
    query_identity, gallery_identity = rng.integers(1, 45, nq), rng.integers(0, 40, ng)
    query_camera, gallery_camera = rng.integers(-1, 3, nq), rng.integers(-1, 3, ng)
    result = rank(query, gallery, Labels(query_identity, query_camera, gallery_identity, gallery_camera))
    rows = []
    for i in range(nq):
        match = gallery_identity == query_identity[i]
        valid = ~(match & (gallery_camera == query_camera[i]) & (query_camera[i] != -1))
        distance = ((gallery - query[i]) ** 2).sum(1)
        order = np.lexsort((match[valid], distance[valid]))
        rows.append(match[valid][order])
    walked = np.array([_walk(row) if row.any() else (np.nan,) * 4 for row in rows], float)
    counted = ~np.isnan(walked[:, 0])
    assert 0 < counted.sum() < nq

    np.testing.assert_allclose(average_precision(result), walked[:, 1], rtol=1e-12)
    np.testing.assert_allclose(average_precision(result, "trapezoid"), walked[:, 2], rtol=1e-12)
    np.testing.assert_allclose(inverse_negative_penalty(result), walked[:, 3], rtol=1e-12)
    curve = [(walked[counted, 0] <= k).mean() for k in range(1, 31)]
    np.testing.assert_allclose(cmc(result, 30), curve, rtol=1e-12)

    metrics = retrieval_metrics(result)
    assert list(metrics) == [
        "rank1",
        "rank5",
        "rank10",
        "rank20",
        "mAP",
        "mAP_trapezoid",
        "mINP",
        "queries",
        "queries_without_match",
    ]
    assert all(type(value) is float for value in metrics.values())
    assert metrics["rank5"] == pytest.approx(curve[4])
    assert metrics["mAP"] == pytest.approx(walked[counted, 1].mean())
    assert metrics["mAP_trapezoid"] == pytest.approx(walked[counted, 2].mean())
    assert metrics["mINP"] == pytest.approx(walked[counted, 3].mean())
    assert metrics["queries"] == nq
    assert metrics["queries_without_match"] == nq - counted.sum()


def test_cmc_grows_to_one_and_bounds_hold():
    rng = np.random.default_rng(4)
    rows = [np.sort(rng.integers(0, 60, rng.integers(1, 9))) for _ in range(80)]
    result = _ranking(*rows)
    curve = cmc(result, 61)
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1
    step, trapezoid = average_precision(result), average_precision(result, "trapezoid")
    assert (trapezoid <= step + 1e-12).all()


def test_a_perfect_ranking_is_one_everywhere():
    metrics = retrieval_metrics(_ranking([0, 0, 0], [0]))
    assert {metrics[key] for key in metrics if not key.startswith("queries")} == {1.0}


def test_more_negatives_never_help():
    better, worse = retrieval_metrics(_ranking([0, 2, 2])), retrieval_metrics(_ranking([1, 2, 4]))
    assert all(worse[key] <= better[key] for key in better)


def test_duplicated_gallery_negative_never_helps_and_match_never_lowers_cmc():
    rng = np.random.default_rng(5)
    query = rng.standard_normal((30, 8), dtype=np.float32)
    gallery = rng.standard_normal((90, 8), dtype=np.float32)
    identity = np.arange(90) % 10
    query_identity = np.arange(30) % 10

    def labels(gallery_identity):
        return Labels(query_identity, np.zeros(30, int), gallery_identity, np.ones(len(gallery_identity), int))

    base = rank(query, gallery, labels(identity))
    # The copy is another identity's item, or the same identity's.
    copied = np.concatenate([gallery, gallery[:1]])
    as_distractor = rank(query, copied, labels(np.append(identity, 99)))
    as_match = rank(query, copied, labels(np.append(identity, 0)))
    assert (average_precision(as_distractor) <= average_precision(base)).all()
    # The copied match of identity 0 now has a negative at its own distance, which stands before it.
    mine = np.flatnonzero(query_identity == 0)
    assert (inverse_negative_penalty(as_distractor)[mine] < inverse_negative_penalty(base)[mine]).all()
    assert (as_match.matches[mine] == base.matches[mine] + 1).all()
    first = [result.negatives_before[result.offsets[mine]] for result in (base, as_match)]
    np.testing.assert_array_equal(*first)


def test_queries_without_match_are_not_counted():
    with_empty, without = _ranking([], [1, 3], [], [0], []), _ranking([1, 3], [0])
    a, b = retrieval_metrics(with_empty), retrieval_metrics(without)
    assert a.pop("queries") == 5
    assert a.pop("queries_without_match") == 3
    assert b.pop("queries") == 2
    assert b.pop("queries_without_match") == 0
    assert a == b
    assert np.isnan(average_precision(with_empty)).tolist() == [True, False, True, False, True]


def test_no_query_with_a_match_is_an_error_with_counts():
    one = np.eye(3, dtype=np.float32)
    result = rank(one, one, Labels([1, 2, 3], [0, 0, 0], [1, 8, 9], [0, 0, 0]))
    with pytest.raises(InputError, match="of 3 queries 2 have an identity that the gallery lacks, 1 one") as caught:
        retrieval_metrics(result)
    assert "\n" not in str(caught.value)
    assert np.isnan(average_precision(result)).all()


def test_bad_arguments():
    with pytest.raises(InputError, match="max_rank is 0"):
        cmc(_ranking([0]), 0)
    with pytest.raises(InputError, match="rule 'area' is unknown"):
        average_precision(_ranking([0]), "area")


def test_permuted_gallery_and_queries_change_no_metric():
    rng = np.random.default_rng(6)
    query, gallery = (rng.integers(-1, 2, (n, 6)).astype(np.float32) for n in (40, 150))
    of_query = rng.integers(1, 12, 40), rng.integers(-1, 3, 40)
    of_gallery = rng.integers(0, 10, 150), rng.integers(-1, 3, 150)
    first, second = rng.permutation(40), rng.permutation(150)
    moved = Labels(*(values[first] for values in of_query), *(values[second] for values in of_gallery))
    one, two = rank(query, gallery, Labels(*of_query, *of_gallery)), rank(query[first], gallery[second], moved)
    for rule in ("step", "trapezoid"):
        np.testing.assert_array_equal(average_precision(one, rule)[first], average_precision(two, rule))
    np.testing.assert_array_equal(inverse_negative_penalty(one)[first], inverse_negative_penalty(two))
    np.testing.assert_array_equal(cmc(one, 150), cmc(two, 150))


def test_duplicated_gallery_doubles_the_negatives_before_every_match():
    rng = np.random.default_rng(7)
    query, gallery = (rng.integers(-1, 2, (n, 6)).astype(np.float32) for n in (40, 150))
    of_query = rng.integers(0, 10, 40), rng.integers(0, 3, 40)
    of_gallery = rng.integers(0, 10, 150), rng.integers(0, 3, 150)
    twice = Labels(*of_query, *(np.tile(values, 2) for values in of_gallery))
    one = rank(query, gallery, Labels(*of_query, *of_gallery))
    two = rank(query, np.concatenate([gallery, gallery]), twice)
    np.testing.assert_array_equal(two.matches, 2 * one.matches)
    np.testing.assert_array_equal(two.negatives_before, np.repeat(2 * one.negatives_before, 2))
    # So a first match at rank 1 + n moves to 1 + 2n: rank k before is rank 2k - 1 after.
    np.testing.assert_array_equal(cmc(one, 100), cmc(two, 199)[::2])
    assert cmc(one, 1)[0] == cmc(two, 1)[0]


def test_format_metrics_is_an_aligned_table():
    table = format_metrics(
        {
            "market1501": {"rank1": 0.951, "mAP": 1.0, "queries": 3368.0},
            "small": {"rank1": 0.05, "queries": 10.0},
        }
    )
    assert table.splitlines() == [
        "            rank1     mAP  queries",
        "market1501  95.10  100.00     3368",
        "small        5.00       -       10",
    ]


def test_format_metrics_shows_distances_and_rates():
    table = format_metrics(
        {
            "market1501": {
                "tpr_at_fpr_1e-3": 0.8125,
                "distance_at_fpr_1e-3": 0.91249,
                "equal_error_rate": 0.0312,
                "rank1_std": 0.0041,
            },
            "small": {"tpr_at_fpr_1e-3": 0.0, "distance_at_fpr_1e-3": float("nan"), "equal_error_rate": 0.5},
        }
    )
    assert table.splitlines() == [
        "            tpr at fpr 1e-3  distance at fpr 1e-3  equal error rate  rank1 std",
        "market1501            81.25                 0.912              3.12       0.41",
        "small                  0.00                     -             50.00          -",
    ]


def test_format_matrix_keeps_the_names_of_data_sets():
    table = format_matrix({"runs/a": {"my_set": 0.951, "distance_set": 1.0}, "b_c": {"distance_set": 0.05}}, "mAP")
    assert table.splitlines() == [
        "        my_set  distance_set",
        "runs/a   95.10        100.00",
        "b_c          -          5.00",
    ]
