"""Thresholds at false-positive rates: how many they let through, of which distances they are, and their file."""

import dataclasses
import json

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.calibration import calibrate, read_calibration, threshold_at, write_calibration
from reid_jax.tracking.reentry import Described
from reid_jax.tracking.visits import NOBODY, Visit


@pytest.mark.parametrize("rate", [0.01, 0.29, 0.999])
def test_no_more_than_the_rate_lies_below_the_threshold_and_not_much_less(rate):
    others = np.random.default_rng(0).permutation(np.linspace(0.2, 1.4, 100))
    below = (others < threshold_at(others, rate)).mean()
    assert rate - 0.011 < below <= rate + 1e-9


def test_a_rate_needs_as_many_comparisons():
    with pytest.raises(InputError, match=r"a rate of 0.001 needs 1,000 comparisons .* there are 999"):
        threshold_at(np.ones(999), 0.001)
    assert threshold_at(np.ones(1000), 0.001) == 1


def at(*degrees):
    """A visit whose crops are unit vectors at these angles, the first of which its query is."""
    angle = np.radians(degrees)
    crops = np.column_stack([np.cos(angle), np.sin(angle)])
    return Described(crops[:1], crops, np.arange(len(crops)), np.zeros(len(crops), int))


def apart(degrees):
    return 2 * np.sin(np.radians(degrees) / 2)


VISITS = [Visit(number, 10 * number, 10 * number + 5, np.arange(0)) for number in (1, 2, 3, 4)]
DESCRIBED = [at(0, 60), at(90), at(30), at(0)]
TRUTH = np.array([7, 8, 7, NOBODY])


def test_two_images_are_compared_across_visits_and_a_visit_with_the_nearest_of_a_gallery():
    found = calibrate(VISITS, DESCRIBED, TRUTH, [0.5], digest="abc")
    # The third visit against the first one's gallery and the second's; the second against the first's.
    assert (found.visits.same, found.visits.others) == (1, 2)
    assert found.visits.at[0].threshold == pytest.approx(apart(60))
    assert found.visits.at[0].false_new == 0
    # Images: 0-30, 30-0, 30-60 of one person; 0-90, 90-0, 90-60, 90-30, 30-90 of two. The fourth is of nobody.
    assert (found.images.same, found.images.others) == (3, 5)
    assert found.images.at[0].threshold == pytest.approx(apart(60))  # of 30, 60, 60, 90, 90 two lie below at most
    assert found.images.at[0].false_new == 0
    nobody_back = calibrate(VISITS[:2], DESCRIBED[:2], TRUTH[:2], [1 - 1e-9])
    assert nobody_back.visits.at[0].false_new is None


def test_the_file_gives_back_what_was_written(tmp_path):
    found = calibrate(VISITS, DESCRIBED, TRUTH, [0.5, 0.99], digest="abc")
    write_calibration(tmp_path / "a.json", found)
    assert read_calibration(tmp_path / "a.json") == found


def test_what_is_no_calibration_is_one_line(tmp_path):
    sound = dataclasses.asdict(calibrate(VISITS, DESCRIBED, TRUTH, [0.5]))
    with pytest.raises(InputError, match="there is no file"):
        read_calibration(tmp_path / "absent.json")
    for change in (
        {"images": None},
        {"images": {"same": 1, "others": 2, "at": []}},
        {"images": {"same": 1, "others": 2, "at": [{"rate": 0.1, "threshold": "near", "false_new": None}]}},
        {"images": {"same": 1, "others": 2, "at": 3}},
        {"visits": [1]},
        {"nearest": "1"},
        {"digest": 3},
    ):
        (tmp_path / "a.json").write_text(json.dumps(sound | change))
        with pytest.raises(InputError, match="is no calibration; name one that"):
            read_calibration(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(InputError, match="is no calibration"):
        read_calibration(tmp_path / "a.json")
