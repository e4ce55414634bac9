"""Visits: from entering to leaving, as a tracker saw it under one id; which of its boxes to look at; who it really was.

A tracker's rows, over all cameras together, give one visit for each id. Which boxes describe it is decided without
looking at pixels: spread over cameras and time, and little covered by others.
"""

import dataclasses
from collections import Counter

import numpy as np

from reid_jax.tracking.assignment import assign
from reid_jax.tracking.boxes import area, iou
from reid_jax.tracking.mot_files import Rows

NOBODY = -1  # who a visit was that no person of the ground truth fits

_LEAST_OVERLAP = 0.5  # IoU of a box and the ground truth that it shows: MOTChallenge's
_LEAST_SHARE = 0.5  # of a visit's boxes that must show the same person


@dataclasses.dataclass(frozen=True)
class Visit:
    """One visit: the id that the tracker gave it, its frames, and its rows, int64 [n], by frame and camera."""

    identity: int
    first: int
    last: int
    rows: np.ndarray


def visits_of(rows: Rows) -> list[Visit]:
    """The visits in a tracker's results, by their first frames, then by id."""
    order = np.lexsort((rows.camera, rows.frame, rows.identity))
    starts = np.flatnonzero(np.diff(rows.identity[order])) + 1
    visits = []
    for own in np.split(order, starts) if len(order) else ():
        frames = rows.frame[own]
        visits.append(Visit(int(rows.identity[own[0]]), int(frames[0]), int(frames[-1]), own))
    return sorted(visits, key=lambda visit: (visit.first, visit.identity))


def cut(rows: Rows, gap: int) -> Rows:
    """The rows of people, each of whose visits gets an id of its own: a tracker without mistakes, and without memory.

    A visit ends where its person is in no camera for more than `gap` frames. Ids go by the visits' first frames, from 1
    on. From ground truth this makes what re-entry alone can be tried on.
    """
    order = np.lexsort((rows.frame, rows.identity))
    frame, person = rows.frame[order], rows.identity[order]
    starts = np.ones(len(order), bool)
    starts[1:] = (np.diff(person) != 0) | (np.diff(frame) > gap + 1)
    number = np.cumsum(starts) - 1
    rank = np.empty(int(starts.sum()), np.int64)
    rank[np.lexsort((person[starts], frame[starts]))] = np.arange(1, len(rank) + 1)
    identity = np.empty(len(order), np.int64)
    identity[order] = rank[number]
    return dataclasses.replace(rows, identity=identity)


def covered(rows: Rows) -> np.ndarray:
    """Which part of each box another one of its frame and camera covers at most: float64 [n], 0 to 1.

    Which of the two stands in front is not known; both may show the other person.
    """
    found = np.zeros(len(rows))
    corners = rows.corners
    for own in _by_place(rows).values():
        box = corners[own]
        size = area(box)
        overlap = iou(box, box)
        shared = overlap * (size[:, None] + size[None]) / (1 + overlap)  # of IoU = shared / (sum of areas − shared)
        np.fill_diagonal(shared, 0)
        found[own] = shared.max(axis=1) / size
    return found


def early_rows(rows: Rows, visit: Visit, cost: np.ndarray, count: int, frames: int) -> np.ndarray:
    """At most `count` rows of a visit's first `frames` frames, spread over these and its cameras: int64 [m].

    `cost`, float [n] of all rows, says what speaks against each, as `covered` gives it.
    """
    early = visit.rows[rows.frame[visit.rows] < visit.first + frames]
    return spread(rows, early, cost, count)


def spread(rows: Rows, own: np.ndarray, cost: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows `own`, spread over cameras, then over time, of small cost: int64 [m], sorted.

    Each camera gets its share of `count`, its rows are cut into that many stretches of time, and the cheapest of each
    is taken, the earliest of equals.
    """
    if len(own) <= count:
        return np.sort(own)
    own = own[np.lexsort((rows.camera[own], rows.frame[own]))]
    cameras = [own[rows.camera[own] == camera] for camera in np.unique(rows.camera[own])]
    chosen = []
    for part, share in zip(cameras, _shares([len(part) for part in cameras], count), strict=True):
        for stretch in np.array_split(part, share) if share else ():
            chosen.append(stretch[np.argmin(cost[stretch])])
    return np.sort(np.array(chosen, np.int64))


def _shares(sizes: list[int], count: int) -> list[int]:
    """`count` given out one by one in turn, no camera more than it has."""
    shares = [0] * len(sizes)
    while sum(shares) < min(count, sum(sizes)):
        for camera, size in enumerate(sizes):
            if shares[camera] < size and sum(shares) < count:
                shares[camera] += 1
    return shares


def diverse(feature: np.ndarray, frame: np.ndarray, camera: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of n crops that differ most in looks, time and camera: int64 [m], in the order of choice.

    From the first on, always the one that is farthest from all that were chosen: half the Euclidean distance of unit
    descriptors (at most 1), plus how far apart in time, in parts of the whole, plus 1 for another camera.

    Args:
      feature: float [n, d], unit norm; frame, camera: int [n].
    """
    if len(feature) <= count:
        return np.arange(len(feature))
    length = max(int(np.ptp(frame)), 1)

    def far(row: int) -> np.ndarray:
        looks = np.sqrt(np.maximum(2 - 2 * feature @ feature[row], 0)) / 2
        return looks + np.abs(frame - frame[row]) / length + (camera != camera[row])

    chosen = [0]
    nearest = far(0)
    while len(chosen) < count:
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, far(chosen[-1]))
    return np.array(chosen, np.int64)


def true_identities(rows: Rows, visits: list[Visit], truth: Rows) -> np.ndarray:
    """Who each visit really was: int64 [visits], the person whom most of its boxes show, `NOBODY` where few show one.

    In each frame and camera boxes and people of the ground truth are paired, the most overlap in all, at an IoU of 0.5
    and more.
    """
    places, people = _by_place(rows), _by_place(truth)
    shows = np.full(len(rows), NOBODY)
    corners, true_corners = rows.corners, truth.corners
    for place, own in places.items():
        if place in people:
            there = people[place]
            row, column = assign(1 - iou(corners[own], true_corners[there]), 1 - _LEAST_OVERLAP)
            shows[own[row]] = truth.identity[there[column]]
    found = []
    for visit in visits:
        counts = Counter(shows[visit.rows].tolist())
        identity, times = max(counts.items(), key=lambda each: (each[1], -each[0]))
        found.append(identity if times >= _LEAST_SHARE * len(visit.rows) else NOBODY)
    return np.array(found, np.int64)


def _by_place(rows: Rows) -> dict[tuple[int, int], np.ndarray]:
    """{(frame, camera): its rows}."""
    order = np.lexsort((rows.camera, rows.frame))
    if not len(order):
        return {}
    frame, camera = rows.frame[order], rows.camera[order]
    starts = np.flatnonzero((np.diff(frame) != 0) | (np.diff(camera) != 0)) + 1
    keys = np.concatenate([[0], starts])
    return {(int(frame[key]), int(camera[key])): part for key, part in zip(keys, np.split(order, starts), strict=True)}
