"""`compare` says same or different as the thresholds do, and of which they are."""

import argparse
import dataclasses
import re

import numpy as np
import pytest
from first_pixel import first_pixel_encoder
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.extractor import Extractor
from reid_jax.tracking.calibration import Calibration, Threshold, Thresholds, write_calibration
from reid_jax.verbs import compare


@pytest.fixture(scope="module")
def extractor():
    return Extractor(first_pixel_encoder())


@pytest.fixture
def said(tmp_path, monkeypatch, capsys, extractor):
    """Runs the verb on images of two names; returns what it prints, line by line."""
    monkeypatch.setattr(compare, "Extractor", lambda weights: extractor)
    for name, colour in (("red", (220, 20, 30)), ("rose", (220, 60, 70)), ("blue", (20, 30, 220))):
        Image.fromarray(np.full((16, 8, 3), colour, np.uint8)).save(tmp_path / f"{name}.png")

    def run(one, other, *options):
        parser = argparse.ArgumentParser()
        compare.add_arguments(parser)
        paths = [str(tmp_path / f"{name}.png") for name in (one, other)]
        compare.run(parser.parse_args([*paths, "--weights=w", *options]))
        return capsys.readouterr().out.splitlines()

    return run


def distance_of(line):
    return float(re.match(r"distance (\d\.\d{3}) ", line)[1])


@pytest.mark.parametrize("line", [line for line in compare.EXAMPLES.splitlines() if line.startswith("  reid")])
def test_examples_parse(line):
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    assert len(parser.parse_args(line.split()[2:]).images) == 2


def test_without_a_threshold_there_is_a_distance_and_no_answer(said):
    alike, no_answer = said("red", "red")
    assert distance_of(alike) == 0
    assert no_answer.startswith("no answer without a threshold")
    assert 0 < distance_of(said("red", "rose")[0]) < distance_of(said("red", "blue")[0]) < 2


def test_a_given_threshold_parts_the_same_from_others(said):
    threshold = f"--threshold={distance_of(said('red', 'rose')[0]) + 0.01:.3f}"
    assert said("red", "rose", threshold)[1].startswith("same person: nearer than")
    assert said("red", "blue", threshold)[1].startswith("different people: not nearer than")


def test_calibrated_thresholds_come_with_their_rates_and_belong_to_the_weights(said, tmp_path, extractor):
    near = distance_of(said("red", "rose")[0])
    at = (Threshold(0.05, near + 0.01, 0.25), Threshold(0.01, near - 0.01, None))
    visits = Thresholds(1, 1, (Threshold(0.5, 2.0, None),))  # of another kind of distance
    file = tmp_path / "thresholds.json"
    found = Calibration(visits, Thresholds(10, 100, at), digest=extractor.digest)
    write_calibration(file, found)
    _, looser, stricter = said("red", "rose", f"--calibration={file}")
    assert looser.startswith("same person: nearer than")
    assert "(false-positive rate 0.05, 25.0 % of pairs of one person farther)" in looser
    assert stricter.startswith("different people: not nearer than")
    assert stricter.endswith("(false-positive rate 0.01)")
    write_calibration(file, dataclasses.replace(found, digest="another's"))
    with pytest.raises(InputError, match="is not of the weights w; calibrate these"):
        said("red", "rose", f"--calibration={file}")


def test_an_image_that_is_not_there_is_named(said):
    with pytest.raises(InputError, match=r"absent\.png \(there is no such file\)"):
        said("red", "absent")
