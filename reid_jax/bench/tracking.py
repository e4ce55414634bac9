"""The tracker's own work on made people: boxes and descriptors in, identities out, nothing embedded."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from reid_jax.bench.measure import in_turn
from reid_jax.text_table import format_table
from reid_jax.tracking.motdt import Tracker

PEOPLE = (10, 30, 100)

_HEIGHT, _WIDTH = 1080, 1920  # of the frame, in pixels
_PERSON = (40, 100)  # width and height of a box, in pixels
_STEP = 4.0  # pixels a frame that a person walks
_JITTER = 1.5  # pixels that a detection is off
_MISSED = 0.05  # of all detections
_NOISE = 0.5  # of a descriptor, beside its person's direction of norm 1
_FRAMES = 100  # in a round; before the first as many are walked, so that each track has all descriptors that it keeps


@dataclasses.dataclass(frozen=True)
class TrackingMeasurement:
    """Seconds a frame [rounds] for each number of people, with descriptors of `dimensions` numbers."""

    dimensions: int
    seconds: dict[int, tuple[float, ...]]

    def __str__(self) -> str:
        head = ("people", "ms a frame", "from - to", "frames/s", "us a person and track")
        rows = [
            (
                people,
                f"{1e3 * statistics.median(own):.2f}",
                f"{1e3 * min(own):.2f} - {1e3 * max(own):.2f}",
                f"{1 / statistics.median(own):,.0f}",
                f"{1e6 * statistics.median(own) / people**2:.2f}",
            )
            for people, own in self.seconds.items()
        ]
        return format_table([head, *rows])

    def figures(self) -> dict[str, Any]:
        """The measurement as plain values for JSON."""
        rows = [
            {"people": people, "seconds": own, "median_seconds": statistics.median(own)}
            for people, own in self.seconds.items()
        ]
        return {"dimensions": self.dimensions, "people": rows}


def bench_tracking(people: Sequence[int], dimensions: int, rounds: int) -> TrackingMeasurement:
    """Times a frame of the tracker with these numbers of people in sight, in turn, round by round.

    People walk through each other in a frame of 1920 x 1080; a twentieth of the detections is missing. Making them is
    not counted.
    """
    works = []
    for count in people:
        walk = _Walk(count, dimensions)
        tracker = Tracker(image_size=(_HEIGHT, _WIDTH))
        frames = [walk.step() for _ in range(_FRAMES)]

        # There and back again, so that nobody jumps between two rounds.
        def work(tracker=tracker, frames=frames) -> None:
            for box, feature in frames:
                tracker.step(box, feature=feature)
            frames.reverse()

        works.append(work)
    seconds = in_turn(works, rounds)  # its uncounted call fills the tracks
    return TrackingMeasurement(
        dimensions,
        {count: tuple(s / _FRAMES for s in own) for count, own in zip(people, seconds, strict=True)},
    )


class _Walk:
    """People who walk straight on and turn at the frame's edges."""

    def __init__(self, people: int, dimensions: int):
        self._random = np.random.default_rng(people)
        self._room = np.array([_WIDTH - _PERSON[0], _HEIGHT - _PERSON[1]], np.float64)
        self._corner = self._random.uniform(0, self._room, (people, 2))
        angle = self._random.uniform(0, 2 * np.pi, people)
        self._step = _STEP * np.column_stack([np.cos(angle), np.sin(angle)])
        look = self._random.standard_normal((people, dimensions), np.float32)
        self._look = look / np.linalg.norm(look, axis=1, keepdims=True)

    def step(self) -> tuple[np.ndarray, np.ndarray]:
        """The next frame: boxes float64 [n, 4] (left, top, right, bottom) and features float32 [n, d] of detections."""
        corner = self._corner + self._step
        outside = (corner < 0) | (corner > self._room)
        self._step[outside] *= -1
        self._corner = np.clip(corner, 0, self._room)
        found = np.flatnonzero(self._random.random(len(corner)) >= _MISSED)
        low = self._corner[found] + self._random.normal(0, _JITTER, (len(found), 2))
        high = low + _PERSON + self._random.normal(0, _JITTER, (len(found), 2))
        noise = self._random.standard_normal((len(found), self._look.shape[1]), np.float32)
        feature = self._look[found] + _NOISE / np.sqrt(self._look.shape[1]) * noise
        return np.concatenate([low, high], axis=1), feature
