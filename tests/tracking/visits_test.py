"""Visits of a tracker's rows: their frames, the boxes that describe them, and who they were."""

import numpy as np
import pytest

from reid_jax.tracking.mot_files import Rows, join
from reid_jax.tracking.visits import (
    NOBODY,
    covered,
    cut,
    diverse,
    early_rows,
    spread,
    true_identities,
    visits_of,
)


def track(identity, frames, x=0.0, camera=0):
    """Rows of one id that stands still at x."""
    frames = np.asarray(list(frames))
    box = np.tile([x, 0.0, 10.0, 20.0], (len(frames), 1))
    return Rows.of(frames, box, identity=identity, camera=camera)


def joined(*parts):
    return join(parts)


def test_a_visit_is_an_id_over_all_cameras():
    rows = joined(track(7, range(5, 9)), track(2, range(1, 4)), track(7, range(3, 7), camera=1), track(1, [3]))
    rows = rows.select(np.random.default_rng(0).permutation(len(rows)))
    visits = visits_of(rows)
    assert [(visit.identity, visit.first, visit.last, len(visit.rows)) for visit in visits] == [
        (2, 1, 3, 3),
        (1, 3, 3, 1),
        (7, 3, 8, 8),
    ]
    last = rows.select(visits[2].rows)
    assert last.frame.tolist() == [3, 4, 5, 5, 6, 6, 7, 8]
    assert last.camera.tolist() == [1, 1, 0, 1, 0, 1, 0, 0]
    assert visits_of(track(1, [])) == []


def test_ground_truth_is_cut_where_people_leave_all_cameras():
    rows = joined(
        track(4, [*range(1, 6), *range(9, 12), 30]),
        track(4, range(12, 16), camera=1),
        track(9, range(3, 6)),
        track(2, [3]),
    )
    rows = rows.select(np.random.default_rng(0).permutation(len(rows)))
    found = cut(rows, 3)
    pairs = sorted({(first, own) for first, own in zip(rows.identity.tolist(), found.identity.tolist(), strict=True)})
    assert pairs == [(2, 2), (4, 1), (4, 4), (9, 3)]
    assert [(visit.identity, visit.first, visit.last) for visit in visits_of(found)] == [
        (1, 1, 15),
        (2, 3, 3),
        (3, 3, 5),
        (4, 30, 30),
    ]
    assert len(visits_of(cut(rows, 2))) == 5  # frames 6, 7 and 8 are without person 4
    assert len(cut(track(1, []), 3)) == 0


def test_what_covers_a_box_is_of_its_frame_and_camera():
    box = [[0, 0, 10, 10], [5, 0, 20, 10], [100, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]]
    rows = Rows.of([1, 1, 1, 2, 1], box, identity=[1, 2, 3, 4, 5], camera=[0, 0, 0, 0, 1])
    np.testing.assert_allclose(covered(rows), [0.5, 0.25, 0, 0, 0])


def test_rows_are_spread_over_cameras_and_time_and_the_clearest_of_each_stretch_taken():
    rows = joined(track(1, range(1, 13)), track(1, range(1, 5), camera=1))
    cost = np.zeros(len(rows))
    cost[[0, 1, 2]] = 0.5
    chosen = rows.select(spread(rows, np.arange(len(rows)), cost, 4))
    assert sorted(zip(chosen.camera.tolist(), chosen.frame.tolist(), strict=True)) == [(0, 4), (0, 7), (1, 1), (1, 3)]
    assert len(spread(rows, np.arange(16), cost, 15)) == 15  # the second camera has no more than four
    assert spread(rows, np.array([3, 1]), cost, 5).tolist() == [1, 3]


def test_early_rows_are_of_the_first_frames():
    rows = track(1, range(10, 60))
    (visit,) = visits_of(rows)
    frames = rows.frame[early_rows(rows, visit, np.zeros(50), 8, 20)]
    assert len(frames) == 8
    assert frames.min() == 10
    assert 25 < frames.max() < 30


def test_diverse_crops_are_far_from_each_other_one_by_one():
    random = np.random.default_rng(0)
    feature = random.standard_normal((25, 6))
    feature /= np.linalg.norm(feature, axis=1, keepdims=True)
    frame, camera = random.integers(1, 100, 25), random.integers(0, 3, 25)

    def far(a, b):
        looks = np.linalg.norm(feature[a] - feature[b]) / 2
        return looks + abs(frame[a] - frame[b]) / np.ptp(frame) + (camera[a] != camera[b])

    chosen = [0]
    while len(chosen) < 9:
        rest = [row for row in range(25) if row not in chosen]
        chosen.append(max(rest, key=lambda row: min(far(row, other) for other in chosen)))
    assert diverse(feature, frame, camera, 9).tolist() == chosen
    assert diverse(feature[:4], frame[:4], camera[:4], 9).tolist() == [0, 1, 2, 3]
    same = np.ones((5, 1))
    assert sorted(diverse(same, np.ones(5, int), np.zeros(5, int), 3).tolist()) == [0, 1, 2]  # none twice


def test_a_visit_is_whom_most_of_its_boxes_show():
    truth = joined(track(5, range(1, 21), 0), track(6, range(1, 21), 100), track(5, range(1, 21), 0, camera=1))
    rows = joined(
        track(1, range(1, 11), 1),  # person 5 with a little offset
        track(2, range(1, 7), 100),
        track(2, range(7, 11), 300),  # mostly person 6
        track(3, range(1, 4), 100),  # less than half of it anybody
        track(3, range(4, 9), 500),
        track(4, range(30, 33), 0),  # where there is no truth
        track(8, range(11, 15), 0, camera=1),
    )
    visits = visits_of(rows)
    found = dict(zip([visit.identity for visit in visits], true_identities(rows, visits, truth).tolist(), strict=True))
    # In frames 1 to 3 id 3 lies where id 2 does: one of them gets person 6.
    assert {key: found[key] for key in (1, 3, 4, 8)} == {1: 5, 3: NOBODY, 4: NOBODY, 8: 5}
    assert found[2] in (6, NOBODY)
    alone = joined(track(2, range(1, 7), 100), track(2, range(7, 11), 300))
    assert true_identities(alone, visits_of(alone), truth).tolist() == [6]


@pytest.mark.parametrize("offset", [3.0, 4.0])
def test_a_box_shows_whom_it_overlaps_by_half(offset):
    # IoU of two boxes of width 10 that are x apart: (10 − x) / (10 + x), 7/13 and 6/14.
    rows = track(1, [1], offset)
    assert true_identities(rows, visits_of(rows), track(9, [1])).tolist() == [9 if offset == 3.0 else NOBODY]
