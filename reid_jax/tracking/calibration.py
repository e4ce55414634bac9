"""Thresholds of "the same person" at stated false-positive rates, found on people who are not those they are for.

A false positive is another person nearer than the threshold. There are two kinds, as their distances are not alike: of
a visit and a gallery, which re-entry compares (`reentry.distance`), and of two images.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_jax.errors import InputError, shown
from reid_jax.files.json_files import read_json, write_json
from reid_jax.tracking.reentry import Described, compare
from reid_jax.tracking.thresholds import Calibration, Threshold, Thresholds, calibration_from
from reid_jax.tracking.visits import NOBODY, Visit


def calibrate(
    visits: Sequence[Visit],
    described: Sequence[Described],
    truth: np.ndarray,
    rates: Sequence[float],
    *,
    nearest: int = 1,
    digest: str = "",
) -> Calibration:
    """Finds both kinds of thresholds at each of `rates`; see `reentry.compare` for the other arguments.

    Raises InputError where there are too few distances to other people for a rate.
    """
    of_visits = _thresholds(*compare(visits, described, truth, nearest=nearest), rates)
    return Calibration(of_visits, _thresholds(*_compare_images(described, truth), rates), nearest, digest)


def _thresholds(same: np.ndarray, others: np.ndarray, rates: Sequence[float]) -> Thresholds:
    found = []
    for rate in rates:
        threshold = threshold_at(others, rate)
        found.append(Threshold(rate, threshold, float((same >= threshold).mean()) if len(same) else None))
    return Thresholds(len(same), len(others), tuple(found))


def _compare_images(described: Sequence[Described], truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distances of images of two visits: (of the same person [n], of two people [m]).

    Of each visit's first crop to all gallery crops of every other visit. Visits of `NOBODY` are left out.
    """
    gallery = np.concatenate([one.gallery for one in described])
    owner = np.repeat(np.arange(len(described)), [len(one.gallery) for one in described])
    same, others = [np.zeros(0)], [np.zeros(0)]
    for v in np.flatnonzero(truth != NOBODY):
        apart = np.sqrt(np.maximum(2 - 2 * described[v].query[:1] @ gallery.T, 0))
        is_same = truth[owner] == truth[v]
        same.append(apart[:, is_same & (owner != v)].ravel())
        others.append(apart[:, ~is_same & (truth[owner] != NOBODY)].ravel())
    return np.concatenate(same), np.concatenate(others)


def threshold_at(others: np.ndarray, rate: float) -> float:
    """The largest threshold that at most a share `rate` of distances to other people, float [m], lies below.

    Raises InputError where these are so few that not even one may lie below it.
    """
    most = int(rate * len(others) + 1e-9)  # 0.29 * 100 is 28.999…
    if most < 1:
        raise InputError(
            f"a rate of {rate:g} needs {int(np.ceil(1 / rate)):,} comparisons with other people or more, and there are "
            f"{len(others):,}; take more people, or a higher rate"
        )
    return float(np.sort(others)[min(most, len(others) - 1)])


def write_calibration(path: str | os.PathLike, calibration: Calibration) -> None:
    """Writes it as JSON, complete or not at all; raises InputError where it cannot be written."""
    write_json(path, dataclasses.asdict(calibration))


def read_calibration(path: str | os.PathLike) -> Calibration:
    """Reads what `write_calibration` wrote; raises InputError where the file is missing or no calibration."""
    path = Path(path)
    value = read_json(path)
    if value is None:
        raise InputError(f"there is no file {shown(path)}; name one that `reid-jax track calibrate --json=FILE` wrote")
    calibration = calibration_from(value)
    if calibration is None:
        raise InputError(f"{shown(path)} is no calibration; name one that `reid-jax track calibrate --json=FILE` wrote")
    return calibration


def read_calibration_of(path: str | os.PathLike, weights: str | os.PathLike, digest: str) -> Calibration:
    """Reads a calibration of the weights named `weights`, of that digest; raises InputError where it is of others."""
    calibration = read_calibration(path)
    if calibration.digest != digest:
        raise InputError(
            f"{shown(path)} is not of the weights {shown(weights)}; calibrate these: reid-jax track calibrate "
            f"SEQUENCE ... --weights={shown(weights)} --json=FILE"
        )
    return calibration
