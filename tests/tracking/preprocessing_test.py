"""MOTChallenge's rules for what is scored, against the same written as plain loops, and case by case."""

import itertools

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.mot_files import Rows
from reid_jax.tracking.preprocessing import distractors_of, preprocess

PERSON, STATIC = [10, 10, 20, 40], [200, 10, 20, 40]


def results_of(*boxes, frame=1):
    return Rows.of([frame] * len(boxes), boxes, identity=list(range(1, len(boxes) + 1)))


@pytest.mark.parametrize(("category", "stays"), [(1, True), (2, False), (3, True), (7, False), (8, False), (12, False)])
def test_results_on_distractors_are_dropped_and_those_on_cars_are_not(category, stays):
    truth = Rows.of([1, 1], [PERSON, STATIC], identity=[1, 2], category=[1, category])
    kept, results = preprocess(truth, results_of(PERSON, STATIC))
    assert kept.identity.tolist() == ([1, 2] if category == 1 else [1])
    assert results.identity.tolist() == ([1, 2] if stays else [1])


def test_a_flag_of_0_takes_people_out_but_no_results():
    truth = Rows.of([1, 1], [PERSON, STATIC], identity=[1, 2], category=1, confidence=[1, 0])
    kept, results = preprocess(truth, results_of(PERSON, STATIC))
    assert kept.identity.tolist() == [1]
    assert len(results) == 2


def test_a_distractor_with_a_flag_of_0_drops_results_too():
    truth = Rows.of([1, 1], [PERSON, STATIC], identity=[1, 2], category=[1, 8], confidence=[1, 0])
    assert preprocess(truth, results_of(PERSON, STATIC))[1].identity.tolist() == [1]


@pytest.mark.parametrize(("height", "stays"), [(20.0, False), (19.9, True)])
def test_matches_begin_at_an_iou_of_one_half(height, stays):
    truth = Rows.of([1], [[0, 0, 10, 40]], identity=1, category=8)
    assert len(preprocess(truth, results_of([0, 0, 10, height]))[1]) == stays


def test_a_result_between_a_person_and_a_distractor_goes_to_the_better_sum():
    # The distractor overlaps the result the more, but the only other result fits the distractor alone.
    truth = Rows.of([1, 1], [[0, 0, 10, 40], [0, 10, 10, 40]], identity=[1, 2], category=[1, 8])
    both = results_of([0, 6, 10, 40], [0, 16, 10, 40])
    assert preprocess(truth, both)[1].identity.tolist() == [1]
    assert preprocess(truth, both.select(np.array([0])))[1].identity.tolist() == []


def test_without_classes_nothing_is_a_distractor():
    truth = Rows.of([1, 1], [PERSON, STATIC], identity=[1, 2], confidence=[1, 0])
    kept, results = preprocess(truth, results_of(PERSON, STATIC))
    assert kept.identity.tolist() == [1]
    assert len(results) == 2


def test_other_classes_are_refused():
    with pytest.raises(InputError, match=r"classes 0, 17; MOTChallenge has 1 \(pedestrian\) to 13"):
        preprocess(Rows.of([1, 1], [PERSON, STATIC], identity=[1, 2], category=[17, 0]), results_of(PERSON))


def plain_iou(one, other):
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, high)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def plain_dropped(truth, results):
    """The results to drop in one frame: the best of all assignments, tried one by one."""
    best, chosen = -1.0, []
    places = [*range(len(truth)), *([None] * len(results))]
    for assignment in set(itertools.permutations(places, len(results))):
        pairs = [(row, place) for row, place in enumerate(assignment) if place is not None]
        overlaps = [plain_iou(truth.box[place], results.box[row]) for row, place in pairs]
        if all(overlap >= 0.5 for overlap in overlaps) and sum(overlaps) > best:
            best, chosen = sum(overlaps), pairs
    return {row for row, place in chosen if truth.category[place] in (2, 7, 8, 12)}


def test_it_is_the_best_of_all_assignments():
    rng = np.random.default_rng(0)
    dropped = 0
    for _ in range(60):
        people, count = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        box = np.concatenate([rng.uniform(0, 8, (people + count, 2)), rng.uniform(14, 20, (people + count, 2))], 1)
        truth = Rows.of([3] * people, box[:people], identity=np.arange(people), category=rng.choice([1, 3, 8], people))
        results = Rows.of([3] * count, box[people:], identity=np.arange(count))
        expected = plain_dropped(truth, results)
        _, kept = preprocess(truth, results)
        assert set(kept.identity.tolist()) == set(range(count)) - expected
        dropped += len(expected)
    assert dropped > 20


def test_vehicles_without_a_motor_are_distractors_in_mot20():
    truth = Rows.of([1, 1], [PERSON, STATIC], identity=[1, 2], category=[1, 6])
    for name, count in (("MOT20-01", 1), ("MOT16-02", 2), ("MOT17-02-DPM", 2), ("MOT2015", 2)):
        assert len(preprocess(truth, results_of(PERSON, STATIC), distractors_of(name))[1]) == count
