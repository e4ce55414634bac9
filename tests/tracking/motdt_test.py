"""MOTDT: what the paper's rules say of people who cross, are missed, are hidden, leave, or were never there."""

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.motdt import APPEARANCE, Settings, Tracker, _Features

SIZE = (200, 400)
FRAME = np.zeros((*SIZE, 3), np.uint8)


def person(x, y=50.0, width=20.0, height=50.0):
    return [x, y, x + width, y + height]


def look(number, dimensions=8):
    return np.eye(dimensions)[number]


def run(tracker, frames, features=None):
    """[{identity: centre x}] of frames, lists of boxes; features are lists of descriptors."""
    found = []
    for number, boxes in enumerate(frames):
        seen = tracker.step(boxes, feature=None if features is None else np.array(features[number]))
        found.append(dict(zip(seen.identity.tolist(), (seen.box[:, 0] + seen.box[:, 2]) / 2, strict=True)))
    return found


def test_a_person_is_output_from_the_second_hit_and_a_lone_detection_never():
    frames = [[person(10), person(300)], [person(12)], [person(14)], [person(16), person(200)], [person(18)]]
    found = run(Tracker(image_size=SIZE), frames)
    assert [list(one) for one in found] == [[], [1], [1], [1], [1]]
    assert found[-1][1] == pytest.approx(28, abs=2)


def test_people_who_cross_keep_their_identities_by_their_looks():
    steps = np.arange(40)
    frames = [[person(100 + 3.0 * t, 50), person(220 - 3.0 * t, 60)] for t in steps]
    features = [[look(0), look(1)] for _ in steps]
    found = run(Tracker(image_size=SIZE), frames, features)
    for number, one in enumerate(found[1:], 1):
        hidden = abs(120 - 6 * number) < 20  # one of two detections that nearly coincide is dropped
        if not hidden:
            assert sorted(one) == [1, 2]
            assert one[1] == pytest.approx(110 + 3.0 * number, abs=6)
            assert one[2] == pytest.approx(230 - 3.0 * number, abs=6)


@pytest.mark.parametrize(("gone", "same"), [(20, True), (29, True), (60, False)])
def test_who_comes_back_in_time_and_looks_the_same_keeps_the_identity(gone, same):
    before, after = 10, 5
    frames = [[person(100)]] * before + [[]] * gone + [[person(104)]] * after
    features = [[look(0)]] * before + [np.zeros((0, 8))] * gone + [[look(0)]] * after
    found = run(Tracker(image_size=SIZE), frames, features)
    assert list(found[-1]) == [1 if same else 2]


def test_who_comes_back_looking_otherwise_is_somebody_else():
    # Longer than predictions continue a track: after those only the looks tell.
    frames = [[person(100)]] * 10 + [[]] * 20 + [[person(101)]] * 5
    features = [[look(0)]] * 10 + [np.zeros((0, 8))] * 20 + [[look(1)]] * 5
    found = run(Tracker(image_size=SIZE), frames, features)
    assert list(found[-1]) == [2]


def test_looks_do_not_reach_beyond_the_gate():
    frames = [[person(10)]] * 10 + [[person(300)]] * 3
    found = run(Tracker(image_size=SIZE), frames, [[look(0)]] * 13)
    assert 2 in found[-1]
    assert found[-1][2] == pytest.approx(310, abs=2)


@pytest.mark.parametrize("detected", [2, 3, 10])
def test_predictions_continue_a_track_as_long_as_the_formula_says(detected):
    settings = Settings()
    found = run(Tracker(image_size=SIZE), [[person(100)]] * detected + [[]] * 40)
    # A prediction counts if more than two detections came before; score 1 − ln(1 + 0.05 n) after n predictions.
    score = [1 - np.log(1 + 0.05 * n) for n in range(40)]
    kept = sum(s >= 0.4 for s in score) if detected > 2 else 0
    shown = 4 if detected > 2 and score[kept] > settings.shown_lost_score else 0
    assert sum(bool(one) for one in found[detected:]) == kept + shown
    assert kept == (17 if detected > 2 else 0)


def test_half_a_person_outside_is_not_followed():
    inside, outside = person(-9), person(-11)
    assert run(Tracker(image_size=SIZE), [[inside]] * 3)[-1] == {1: pytest.approx(1)}
    assert run(Tracker(image_size=SIZE), [[outside]] * 3)[-1] == {}
    assert run(Tracker(image_size=SIZE), [[person(1000)]] * 3)[-1] == {}
    assert list(run(Tracker(), [[outside]] * 3)[-1]) == [1]  # no frame is known


def test_of_detections_of_one_person_the_first_stays():
    found = run(Tracker(image_size=SIZE), [[person(100), person(103), person(250)]] * 3)
    assert found[-1] == {1: pytest.approx(110), 2: pytest.approx(260)}


def test_the_embedder_is_called_once_a_frame_with_whole_pixels_of_what_is_kept():
    calls = []

    def embed(frame, boxes):
        calls.append(boxes)
        assert frame is FRAME
        return np.ones((len(boxes), 4))

    tracker = Tracker(embed)
    tracker.step([person(10.4), person(12), person(-9.0), person(1000), [300.1, 10, 300.2, 10.3]], FRAME)
    tracker.step([], FRAME)
    assert len(calls) == 1  # nothing to embed in an empty frame
    boxes = calls[0]
    assert boxes.tolist() == [[10, 50, 30, 100], [0, 50, 11, 100], [300, 10, 301, 11]]


def test_the_box_score_decides_over_candidates():
    def right_half_only(frame, boxes):
        assert frame is FRAME
        return (boxes[:, 0] > 200) * 0.5

    tracker = Tracker(box_score=right_half_only)
    tracker.step([person(10), person(300)], FRAME)
    assert len(tracker.step([person(10), person(300)], FRAME)) == 0  # 0.5 is kept but begins no track
    tracker = Tracker(box_score=lambda frame, boxes: (boxes[:, 0] > 200) * 0.7)
    tracker.step([person(10), person(300)], FRAME)
    seen = tracker.step([person(10), person(300)], FRAME)
    assert seen.box[:, 0].tolist() == [300]
    np.testing.assert_allclose(seen.score, 0.7)


def test_the_box_score_by_appearance_ends_predictions_of_what_is_not_there():
    def embed_by(world):
        return lambda frame, boxes: np.array([look(world[0])] * len(boxes))

    def frames_shown(box_score):
        world = [0]
        tracker = Tracker(embed_by(world), box_score)
        for _ in range(10):
            tracker.step([person(100)], FRAME)
        world[0] = 1  # from now on the background shows there
        return sum(len(tracker.step([], FRAME)) > 0 for _ in range(30))

    assert frames_shown(APPEARANCE) == 0
    assert frames_shown(None) > 10


def test_what_is_not_known_of_a_look_leaves_the_overlap():
    unknown = np.full(8, np.nan)
    features = [[look(0)], [unknown], [np.zeros(8)], [look(0)]]
    assert [list(one) for one in run(Tracker(image_size=SIZE), [[person(50)]] * 4, features)] == [[], [1], [1], [1]]


def test_descriptors_of_any_norm_are_compared_as_unit_vectors():
    frames = [[person(100)]] * 10 + [[]] * 20 + [[person(100)]] * 3
    features = [[look(0) * 7]] * 10 + [np.zeros((0, 8))] * 20 + [[look(0) * 0.1]] * 3
    assert list(run(Tracker(image_size=SIZE), frames, features)[-1]) == [1]


def test_a_track_keeps_the_newest_descriptors():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((30, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    features = _Features(8)
    query = vectors[::3]
    assert np.isinf(features.distances(query)).all()
    for count, vector in enumerate(vectors, 1):
        features.add(vector)
        expected = np.linalg.norm(query[:, None] - vectors[max(0, count - 8) : count][None], axis=2).min(axis=1)
        np.testing.assert_allclose(features.distances(query), expected, atol=1e-3)


def test_frames_without_detections_are_fine_from_the_first_on():
    assert run(Tracker(), [[], [], np.zeros((0, 4))]) == [{}, {}, {}]


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([[0, 0, np.nan, 5]], r"1 of 1 boxes have no area or are not finite: box 0 \(0, 0, nan, 5\)"),
        ([person(1), [0, 0, np.inf, 5]], "1 of 2 .* box 1"),
        ([[5, 5, 5, 9]], "no area"),
        ([[5, 5, 4, 9]], "no area"),
        ([1, 2, 3, 4], r"shape \[4\]"),
        ([[1, 2, 3]], r"shape \[1, 3\]"),
    ],
)
def test_boxes_that_are_none_are_refused(boxes, reason):
    with pytest.raises(InputError, match=reason):
        Tracker().step(boxes)


def test_descriptors_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"1 boxes have descriptors of shape \[2, 8\]"):
        Tracker().step([person(1)], feature=np.zeros((2, 8)))
    with pytest.raises(InputError, match=r"the embedder returned \[3, 8\] for 1 boxes"):
        Tracker(lambda frame, boxes: np.zeros((3, 8))).step([person(1)], FRAME)
    with pytest.raises(InputError, match="needs what describes boxes"):
        Tracker(box_score=APPEARANCE)


@pytest.mark.filterwarnings("error")
def test_no_distance_at_all_is_a_distance_to_go_by():
    def embed(frame, boxes):
        return np.eye(2)[(boxes[:, 0] > 50).astype(int)]

    tracker = Tracker(embed, APPEARANCE, Settings(most_distance=0))
    for box in ([[10, 10, 30, 60]], [[10, 10, 30, 60]], [[10, 10, 30, 60]], [[10, 10, 30, 60]], [], []):
        seen = tracker.step(np.array(box, float), np.zeros((100, 200, 3), np.uint8))
    assert seen.identity.tolist() == [1]
