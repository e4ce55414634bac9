"""Scores of made results, worked out by hand, and what cannot be scored."""

import dataclasses

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.mot_files import MOST, Rows
from reid_jax.tracking.scores import METRICS, Tracked, as_one, score, table

pytest.importorskip("trackeval")

FRAMES = 10


def walk(identity, frames=range(1, FRAMES + 1), top=0.0, **columns):
    frames = list(frames)
    return Rows.of(frames, [[10.0 * frame, top, 20, 40] for frame in frames], identity=identity, **columns)


def together(*parts):
    fields = [field.name for field in dataclasses.fields(Rows)]
    return Rows(*(np.concatenate([getattr(rows, field) for rows in parts]) for field in fields))


TRUTH = together(walk(1), walk(2, top=100.0))


def scores_of(results, truth=TRUTH, **options):
    by_sequence, _ = score([Tracked("a", truth, results)], **options)
    return by_sequence["a"]


def test_the_ground_truth_itself_scores_full_marks():
    found = scores_of(together(walk(70), walk(5, top=100.0)))
    for share in ("hota", "deta", "assa", "mota", "idf1", "idp", "idr", "precision", "recall"):
        assert found[share] == pytest.approx(1)
    for count in ("switches", "fragments", "mostly_lost", "false_positives", "misses"):
        assert found[count] == 0
    assert found["mostly_tracked"] == 2
    assert tuple(found) == METRICS


def test_no_results_at_all():
    found = scores_of(walk(1, []))
    assert (found["mota"], found["idf1"], found["hota"]) == (0, 0, 0)
    assert (found["misses"], found["mostly_lost"]) == (20, 2)


def test_one_switch():
    # Person 1 is 7 for six frames, then 8 for four: IDTP = 6 + 10 of 20.
    found = scores_of(together(walk(7, range(1, 7)), walk(8, range(7, 11)), walk(5, top=100.0)))
    assert found["switches"] == 1
    assert found["mota"] == pytest.approx(1 - 1 / 20)
    assert found["idf1"] == pytest.approx(16 / 20)
    # AssA: 6 boxes at 6/10, 4 at 4/10, 10 at 1.
    assert found["assa"] == pytest.approx((6 * 0.6 + 4 * 0.4 + 10) / 20)
    assert found["deta"] == pytest.approx(1)
    assert found["hota"] == pytest.approx(np.sqrt(found["assa"]))


def test_gaps_false_positives_and_somebody_lost():
    # The false positives are there in all frames: TrackEval sees no gap in frames without any result.
    found = scores_of(together(walk(7, [1, 2, 5, 6, 9, 10]), walk(9, top=500.0)))
    assert found["misses"] == 4 + 10
    assert found["false_positives"] == 10
    assert found["fragments"] == 2
    assert found["mostly_lost"] == 1
    assert found["mostly_tracked"] == 0  # six of ten frames are neither
    assert found["mota"] == pytest.approx(1 - 24 / 20)
    assert found["recall"] == pytest.approx(6 / 20)
    assert found["precision"] == pytest.approx(6 / 16)


def test_hota_knows_how_well_boxes_fit():
    # Half as high: IoU 0.5, so that of the thresholds 0.05, ... 0.95 the first ten match.
    flat = walk(1)
    flat.box[:, 3] = 20
    found = scores_of(flat, walk(1))
    assert found["deta"] == pytest.approx(10 / 19)
    assert found["mota"] == 1


def test_the_order_of_rows_and_the_size_of_ids_do_not_matter():
    results = together(walk(7, range(1, 7)), walk(MOST, range(7, 11)), walk(5, top=100.0))
    rng = np.random.default_rng(0)
    shuffled = scores_of(results.select(rng.permutation(20)), TRUTH.select(rng.permutation(20)))
    assert shuffled == scores_of(results)


def test_frames_without_ground_truth_hold_false_positives_alone():
    truth = walk(1, [1, 2, 9, 10])
    found = scores_of(walk(3), truth)
    assert found["false_positives"] == 6
    assert found["switches"] == 0
    assert found["misses"] == 0


def test_somebody_who_comes_back_is_a_fragment_of_perfect_results():
    truth = together(walk(1, [1, 2, 6, 7]), walk(2, top=100.0))
    found = scores_of(truth, truth)
    assert found["hota"] == pytest.approx(1)
    assert (found["fragments"], found["switches"]) == (1, 0)


def test_preprocessing_can_be_left_out():
    truth = together(walk(1, category=1), walk(2, top=100.0, category=8, confidence=0))
    results = together(walk(1), walk(2, top=100.0))
    assert scores_of(results, truth)["false_positives"] == 0
    assert scores_of(results, truth, preprocessing=False)["false_positives"] == 10


def test_sequences_together_add_their_counts():
    short = walk(1, range(1, 5))
    sequences = [
        Tracked("a", TRUTH, together(walk(7), walk(5, top=100.0))),
        Tracked("b", short, walk(3, [1], top=500.0)),
    ]
    by_sequence, both = score(sequences)
    assert both["misses"] == 4
    assert both["false_positives"] == 1
    assert both["mota"] == pytest.approx(1 - 5 / 24)
    assert both["idf1"] == pytest.approx(2 * 20 / (24 + 21))
    lines = table(by_sequence, both).splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("-")] == ["sequence", "a", "b", "together"]
    assert "79.2" in lines[-1]  # MOTA


def test_an_identity_in_two_cameras_counts_as_one_person():
    same = Tracked("c1", walk(1), walk(4)), Tracked("c2", walk(1), walk(4))
    other = Tracked("c1", walk(1), walk(4)), Tracked("c2", walk(1), walk(6))
    for cameras, idf1 in ((same, 1.0), (other, 0.5)):
        found = score([as_one("both", cameras)])[0]["both"]
        assert found["idf1"] == pytest.approx(idf1)
        assert score(cameras)[1]["idf1"] == 1
        assert found["mostly_tracked"] == 1


@pytest.mark.parametrize(
    ("tracked", "said"),
    [
        ([], "no sequence"),
        ([Tracked("a", TRUTH, TRUTH), Tracked("a", TRUTH, TRUTH)], "each name may be there once"),
        ([Tracked("a", walk(1, category=17), TRUTH)], "a: ground truth has the classes 17"),
        ([Tracked("a", walk(1, category=3), TRUTH)], "a: the ground truth has nobody to be followed"),
        ([Tracked("a", walk(1, []), TRUTH)], "a: the ground truth has nobody to be followed"),
        ([Tracked("a", TRUTH, walk(-1))], "a: the results have boxes without an identity"),
        ([Tracked("a", TRUTH, together(walk(4), walk(4)))], "a: results have id 4 twice in frame 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(tracked, said):
    with pytest.raises(InputError, match=said):
        score(tracked)


def test_a_sequence_with_nobody_in_it_has_false_positives_alone():
    full = Tracked("a", TRUTH, TRUTH)
    for empty in (walk(1, []), walk(1, confidence=0)):
        by_sequence, both = score([full, Tracked("b", empty, walk(3, range(1, 5)))])
        assert (by_sequence["b"]["false_positives"], by_sequence["b"]["misses"]) == (4, 0)
        assert [by_sequence["b"][share] for share in ("hota", "mota", "idf1", "recall")] == [0, 0, 0, 0]
        assert both["mota"] == pytest.approx(1 - 4 / 20)
        assert both["idf1"] == pytest.approx(2 * 20 / (20 + 24))
        assert score([as_one("both", [full, Tracked("b", empty, walk(3, range(1, 5)))])])[1]["false_positives"] == 4
    assert score([full, Tracked("b", walk(1, []), walk(3, []))])[1]["mota"] == 1
    with pytest.raises(InputError, match="b, c: the ground truth has nobody to be followed"):
        score([Tracked("b", walk(1, []), TRUTH), Tracked("c", walk(1, []), TRUTH)])


def test_mot20_has_its_own_rule():
    truth = together(walk(1, category=1), walk(2, top=100.0, category=6, confidence=0))
    for name, count in (("MOT20-01", 0), ("MOT17-02", 10)):
        found, _ = score([Tracked(name, truth, together(walk(1), walk(2, top=100.0)))])
        assert found[name]["false_positives"] == count
        cameras = [Tracked(f"{name}{camera}", truth, together(walk(1), walk(2, top=100.0))) for camera in "ab"]
        assert score([as_one("both", cameras)])[0]["both"]["false_positives"] == 2 * count
