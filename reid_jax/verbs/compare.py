"""`reid-jax compare`: whether two images show the same person."""

import argparse

import numpy as np

from reid_jax.extractor import Extractor
from reid_jax.ranges import real
from reid_jax.tracking.calibration import Calibration, read_calibration_of

EXAMPLES = """\
  reid-jax compare anna_1.jpg anna_2.jpg --weights=runs/1x --calibration=thresholds.json
  reid-jax compare anna_1.jpg ben.jpg --weights=runs/1x --threshold=0.8
thresholds.json is from `reid-jax track calibrate ... --weights=runs/1x --json=thresholds.json`, on people who are not
those in the images. How often it errs on yours depends on how much they are like those."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("images", metavar="IMAGE", nargs=2, help="two files, each a crop of one person")
    parser.add_argument("--weights", required=True, help="a run's workdir, a .safetensors file or zoo:NAME")
    by = parser.add_mutually_exclusive_group()
    by.add_argument("--calibration", help="thresholds of these weights, from `reid-jax track calibrate --json`")
    by.add_argument("--threshold", type=real(0, 2), help="distance from which on two images are of different people")


def run(args: argparse.Namespace) -> None:
    """Prints the distance, and what each threshold makes of it."""
    extractor = Extractor(args.weights)
    calibration = None
    if args.calibration:
        calibration = read_calibration_of(args.calibration, args.weights, extractor.digest)
    one, other = extractor(args.images)
    distance = float(np.sqrt(max(2 - 2 * float(one @ other), 0)))
    print(f"distance {distance:.3f} (0: alike, 2: opposite)")
    for line in _answers(distance, args.threshold, calibration):
        print(line)


def _answers(distance: float, threshold: float | None, calibration: Calibration | None) -> list[str]:
    if calibration is not None:
        return [_calibrated(distance, each.rate, each.threshold, each.false_new) for each in calibration.images.at]
    if threshold is not None:
        return [f"{_said(distance, threshold)} (--threshold; its false-positive rate is not known)"]
    return ["no answer without a threshold: give --calibration, or --threshold; see reid-jax compare --help"]


def _calibrated(distance: float, rate: float, threshold: float, false_new: float | None) -> str:
    missed = "" if false_new is None else f", {100 * false_new:.1f} % of pairs of one person farther"
    return f"{_said(distance, threshold)} (false-positive rate {rate:g}{missed})"


def _said(distance: float, threshold: float) -> str:
    return f"{'same person: nearer' if distance < threshold else 'different people: not nearer'} than {threshold:.3f}"
