"""Who walks where in a synthetic scene: visits from door to door, and where everybody is at each frame."""

import dataclasses
import heapq
import math

import numpy as np

from reid_jax.tracking.scene.room import DEPTH, DOORS, WIDTH, is_inside
from reid_jax.tracking.scene.spec import WALK, SyntheticScene, generator

_STEP = 0.04  # seconds between two places of a path
_SMOOTH = 0.8  # seconds over which corners of a path are rounded
_BEYOND = 1.3  # metres behind a door where a visit begins and ends
_MARGIN, _FROM_CORNERS = 1.1, 2.2  # metres that stops keep from walls, and from the cameras in the corners
_ROOMY = 0.9  # metres between two people that are enough
_TRIES = 12  # paths that are looked at for one that keeps clear of the others
_CYCLE = 1.45  # metres of two steps
_BEFORE = 12.0  # seconds before the first frame at which people begin to come


@dataclasses.dataclass(frozen=True)
class Visit:
    """One walk through the room, from behind a door to behind a door.

    Attributes:
      person: its id, from 1.
      start: seconds after the first frame, negative for somebody who is there by then.
      position: float [k, 2], (x, z) in metres, every `_STEP` seconds.
      heading: float [k], radians, the way the body faces: (x, z) = (sin, cos).
      walked: float [k], metres since the start.
    """

    person: int
    start: float
    position: np.ndarray
    heading: np.ndarray
    walked: np.ndarray

    @property
    def end(self) -> float:
        """Seconds after the first frame at which the person is gone."""
        return self.start + _STEP * (len(self.position) - 1)

    def at(self, time: float) -> int | None:
        """The index of the place nearest to a time, or None before and after the visit."""
        index = round((time - self.start) / _STEP)
        return index if 0 <= index < len(self.position) else None


@dataclasses.dataclass(frozen=True)
class Walker:
    """Where somebody is at one frame; `position` float [2] as (x, z), `phase` of the legs in radians."""

    person: int
    position: np.ndarray
    heading: float
    pace: float
    phase: float


def draw_visits(spec: SyntheticScene) -> list[Visit]:
    """Everybody's visits up to the last frame, in the order in which they begin.

    Whoever leaves stays away for a while and comes back while there are frames. Nobody comes while `at_once` people
    are there.
    """
    last = (spec.frames - 1) / spec.frame_rate
    visits: list[Visit] = []
    order = generator(spec, WALK, 0).permutation(spec.people) + 1
    waiting = [(-_BEFORE + 0.7 * place, int(person)) for place, person in enumerate(order)]
    heapq.heapify(waiting)
    made = dict.fromkeys(range(1, spec.people + 1), 0)
    while waiting:
        ready, person = heapq.heappop(waiting)
        present = sorted(visit.end for visit in visits if visit.end > ready)
        if len(present) >= spec.at_once:
            heapq.heappush(waiting, (present[len(present) - spec.at_once] + _STEP, person))
            continue
        if ready > last:
            continue
        made[person] += 1
        rng = generator(spec, WALK, person, made[person])
        visit = _draw_visit(rng, person, ready, [other for other in visits if other.end > ready])
        visits.append(visit)
        heapq.heappush(waiting, (visit.end + spec.away * (0.25 + rng.exponential(0.75)), person))
    return visits


def _draw_visit(rng: np.random.Generator, person: int, start: float, others: list[Visit]) -> Visit:
    """Of some paths the first that keeps clear of the others, or the one that comes least close to them."""
    best, widest = None, -math.inf
    for _ in range(_TRIES):
        visit = Visit(person, start, *_draw_path(rng))
        clear = min((_clearance(visit, other) for other in others), default=math.inf)
        if clear > widest:
            best, widest = visit, clear
        if clear > _ROOMY:
            break
    return best


def _clearance(visit: Visit, other: Visit) -> float:
    """The least distance between two people in metres; infinite where they are never there together."""
    lag = round((visit.start - other.start) / _STEP)
    ours, theirs = visit.position[max(0, -lag) :], other.position[max(0, lag) :]
    count = min(len(ours), len(theirs))
    return float(np.hypot(*(ours[:count] - theirs[:count]).T).min()) if count else math.inf


def _draw_path(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A path with one to three stops: positions [k, 2], headings [k], metres walked [k]."""
    entrance, exit_ = (DOORS[number] for number in rng.integers(len(DOORS), size=2))
    speed = rng.uniform(0.9, 1.5)
    aside = rng.uniform(-0.3, 0.3, 2)
    ways = [entrance.middle + aside[0] * entrance.along + out * entrance.inward for out in (-_BEYOND, 0.9)]
    pauses = [0.0, 0.0]
    for _ in range(int(rng.integers(1, 4))):
        ways.append(_draw_stop(rng))
        pauses.append(rng.uniform(0.3, 2.5) if rng.random() < 0.5 else 0.0)
    ways += [exit_.middle + aside[1] * exit_.along + out * exit_.inward for out in (0.9, -_BEYOND)]
    pauses += [0.0, 0.0]

    places = [ways[0][None]]
    for here, there, pause in zip(ways, ways[1:], pauses[1:], strict=False):
        steps = max(1, round(np.hypot(*(there - here)) / speed / _STEP))
        places.append(here + (there - here) * (np.arange(1, steps + 1) / steps)[:, None])
        places.append(np.repeat(there[None], round(pause / _STEP), 0))
    position = _smooth(np.concatenate(places))
    move = np.diff(position, axis=0, append=position[-1:])
    length = np.hypot(*move.T)
    return position, _headings(move, length), np.concatenate(([0.0], np.cumsum(length[:-1])))


def _draw_stop(rng: np.random.Generator) -> np.ndarray:
    """A spot of the floor away from walls and cameras, float [2]."""
    corners = np.array([(x, z) for x in (0, WIDTH) for z in (0, DEPTH)])
    while True:
        spot = rng.uniform(_MARGIN, (WIDTH - _MARGIN, DEPTH - _MARGIN))
        if np.hypot(*(corners - spot).T).min() > _FROM_CORNERS:
            return spot


def _smooth(places: np.ndarray) -> np.ndarray:
    """Means over a window, as somebody walks who cuts corners and does not stop at once."""
    half = round(_SMOOTH / 2 / _STEP)
    window = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(places, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, window / window.sum(), "valid") for column in padded.T], 1)


def _headings(move: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The way of each step, turned to gradually; who stands faces where he went."""
    going = length > 0.1 * _STEP
    last = np.maximum.accumulate(np.where(going, np.arange(len(going)), np.argmax(going)))
    angles = np.unwrap(np.arctan2(*move[last].T))
    return _smooth(angles[:, None])[:, 0]


def walkers_at(spec: SyntheticScene, visits: list[Visit], frame: int) -> list[Walker]:
    """Who is in the room, or behind one of its doors, at a frame counted from 1."""
    time = (frame - 1) / spec.frame_rate
    walkers = []
    for visit in visits:
        if (index := visit.at(time)) is None:
            continue
        before = max(0, index - 5)
        speed = (visit.walked[index] - visit.walked[before]) / max(1, index - before) / _STEP
        walkers.append(
            Walker(
                visit.person,
                visit.position[index],
                float(visit.heading[index]),
                pace=0.36 * min(1.0, float(speed) / 0.9),
                phase=2 * math.pi * float(visit.walked[index]) / _CYCLE,
            )
        )
    return walkers


def is_outside(walker: Walker) -> bool:
    """Whether somebody stands behind a door."""
    return not is_inside(walker.position)
