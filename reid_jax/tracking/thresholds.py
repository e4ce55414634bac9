"""Thresholds of "the same person" with their rates, as `calibration` finds them and a file holds them."""

import dataclasses
from typing import Any

from reid_jax.files.json_files import is_number


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A distance nearer than which the share `rate` of other people is, at most.

    false_new: the share of the same person that is not; None where nobody came back.
    """

    rate: float
    threshold: float
    false_new: float | None


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Thresholds of one kind of distance, and how many distances to the same and to other people they are from."""

    same: int
    others: int
    at: tuple[Threshold, ...]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What `track calibrate` finds.

    visits, images: see `calibration`.
    nearest: k of `reentry.distance`, for the visits.
    digest: of the weights that described people, see `Extractor.digest`; '' where no network did.
    """

    visits: Thresholds
    images: Thresholds
    nearest: int = 1
    digest: str = ""


def calibration_from(value: Any) -> Calibration | None:
    """Returns what a JSON value says, as `write_calibration` writes it; None where it is no calibration."""
    try:
        visits, images = (_read_thresholds(value[kind]) for kind in ("visits", "images"))
        nearest, digest = value["nearest"], value["digest"]
    except (KeyError, TypeError, IndexError):
        return None
    if not (visits and images and isinstance(nearest, int) and isinstance(digest, str)):
        return None
    return Calibration(visits, images, nearest, digest)


def _read_thresholds(value: Any) -> Thresholds | None:
    """The thresholds in a JSON object; None, KeyError or TypeError where they are none."""
    at = tuple(Threshold(each["rate"], each["threshold"], each["false_new"]) for each in value["at"])
    numbers = [number for each in at for number in (each.rate, each.threshold, each.false_new or 0.0)]
    if not at or not all(map(is_number, [*numbers, value["same"], value["others"]])):
        return None
    return Thresholds(value["same"], value["others"], at)
