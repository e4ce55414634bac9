"""MOTDT, the online tracker of section 5.2, with any network in the place of its descriptors.

Chen, Ai, Zhuang and Shang, "Real-time multiple people tracking with deeply learned candidate selection and person
re-identification", ICME 2018. Detections and the tracks' own predictions compete as candidates; what is kept is
assigned to tracks by appearance, then by overlap. Two things are handed in: what describes boxes, and how much a box
looks like a person. Where the paper has a network of its own for the latter (an R-FCN), 1 stands here by default.
"""

import dataclasses
import enum
from collections.abc import Callable

import numpy as np

from reid_jax.errors import InputError, first_few
from reid_jax.tracking import kalman
from reid_jax.tracking.assignment import assign
from reid_jax.tracking.boxes import inside, iou, thin_out, whole_pixels

# (frame uint8 [h, w, 3] RGB, boxes float64 [n, 4] (left, top, right, bottom), whole pixels inside of the frame) ->
# descriptors float [n, d] of any norm. One that is 0 or not finite says that the box's appearance is not known.
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]
# (frame or None, boxes float64 [n, 4]) -> how much each looks like a person, float [n], 0 to 1.
BoxScore = Callable[[np.ndarray | None, np.ndarray], np.ndarray]

APPEARANCE = "appearance"  # the box score that asks how near a prediction looks to its own track


@dataclasses.dataclass(frozen=True)
class Settings:
    """The tracker's constants. All but the last are of the paper or its authors' public code.

    Fields:
      most_overlap: IoU above which the better of two candidates drops the other.
      least_score: of a candidate that is kept.
      least_inside: part of a candidate's area that lies in the frame.
      gate: squared Mahalanobis distance at which a detection is too far from a track: χ² of 4 degrees of freedom, 95 %.
      most_distance: Euclidean, between unit descriptors of the same person. It belongs to the network: the 0.64 is the
        original's, of 512 numbers.
      most_overlap_cost: 1 − IoU of a track and the box that continues it.
      features: descriptors that a track keeps, the newest.
      start_score: of a detection that begins a track.
      lost_frames: for which a lost track may still be found again.
      shown_lost_frames, shown_lost_score: for how long, and above which score, a lost track's prediction is output.
      decay: how a prediction's score falls with the predictions n that continued its track: 1 − ln(1 + decay · n).
      least_detections: detections that a track has had, more than these, before its predictions count.
      doubt: the appearance's distance, in parts of most_distance, at which the box score `appearance` is 0. Ours.
    """

    most_overlap: float = 0.3
    least_score: float = 0.4
    least_inside: float = 0.5
    gate: float = 9.4877
    most_distance: float = 0.64
    most_overlap_cost: float = 0.7
    features: int = 100
    start_score: float = 0.6
    lost_frames: int = 30
    shown_lost_frames: int = 4
    shown_lost_score: float = 0.3
    decay: float = 0.05
    least_detections: int = 2
    doubt: float = 2.0


@dataclasses.dataclass(frozen=True)
class Seen:
    """Who is seen in one frame: identity int64 [n], from 1; box float64 [n, 4], (left, top, right, bottom); score [n].

    Lost people are among them for a few frames, where they are expected.
    """

    identity: np.ndarray
    box: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)


class _State(enum.Enum):
    NEW = "seen once"
    TRACKED = "tracked"
    LOST = "lost"


class _Features:
    """A track's newest descriptors, at most `most` of them."""

    def __init__(self, most: int):
        self._most = most
        self._kept: np.ndarray | None = None
        self._count = 0

    def add(self, feature: np.ndarray) -> None:
        if self._kept is None:
            self._kept = np.empty((1, len(feature)), np.float32)
        elif self._count == len(self._kept) < self._most:
            room = np.empty((min(2 * self._count, self._most), len(feature)), np.float32)
            room[: self._count] = self._kept
            self._kept = room
        self._kept[self._count % self._most] = feature
        self._count += 1

    def distances(self, feature: np.ndarray) -> np.ndarray:
        """From each of `feature` [n, d] to the nearest that is kept, Euclidean: float [n]; infinite where none is."""
        if self._kept is None:
            return np.full(len(feature), np.inf)
        nearest = (feature @ self._kept[: self._count].T).max(axis=1)  # of unit vectors: ‖a − b‖² = 2 − 2 a·b
        return np.sqrt(np.maximum(2 - 2 * nearest, 0))


@dataclasses.dataclass(eq=False)
class _Track:
    features: _Features
    frame: int  # in which it was last updated
    score: float
    state: _State = _State.NEW
    identity: int = 0  # none before it is seen again
    detections: int = 1  # that updated it since it began or was found again
    predictions: int = 0  # that updated it, one after the other, up to now


@dataclasses.dataclass(frozen=True)
class _Candidates:
    """Boxes [k, 4] with scores [k]; track [k], the row of the track that predicts it, -1 for a detection.

    feature: float32 [k, d], unit norm, NaN where it is not known; None where there is no appearance at all.
    """

    box: np.ndarray
    score: np.ndarray
    track: np.ndarray
    feature: np.ndarray | None

    def select(self, index: np.ndarray) -> "_Candidates":
        feature = None if self.feature is None else self.feature[index]
        return _Candidates(self.box[index], self.score[index], self.track[index], feature)


_NO_BOXES = np.zeros((0, 4))
_DETECTION = -1


class Tracker:
    """Follows people from frame to frame.

        tracker = Tracker(embed)
        for frame, boxes in ...:
            seen = tracker.step(boxes, frame)

    Without `embed` and without descriptors given to `step` the first two assignments go by the Mahalanobis distance
    alone.
    """

    def __init__(
        self,
        embed: Embed | None = None,
        box_score: BoxScore | str | None = None,
        settings: Settings = Settings(),  # noqa: B008 (it is frozen)
        image_size: tuple[int, int] | None = None,
    ):
        """Takes what describes boxes and what scores them, `APPEARANCE` for the latter or None for 1.

        `image_size` (height, width) serves where `step` is given no frame. Raises InputError for a box score by
        appearance without `embed`.
        """
        if box_score == APPEARANCE and embed is None:
            raise InputError("the box score by appearance needs what describes boxes; give an embedder")
        self.settings = settings
        self._embed, self._box_score, self._image_size = embed, box_score, image_size
        self._tracks: list[_Track] = []
        self._motion = kalman.start(_NO_BOXES)
        self._frame = 0
        self._identities = 0

    @property
    def identities(self) -> int:
        """How many people were seen so far: identities go from 1 to this."""
        return self._identities

    def step(self, box: np.ndarray, frame: np.ndarray | None = None, feature: np.ndarray | None = None) -> Seen:
        """Takes the next frame's detections and returns who is seen in it.

        Args:
          box: float [n, 4], (left, top, right, bottom) in pixels; there may be none. One that lies with less than half
            of its area in the frame is not used.
          frame: uint8 [h, w, 3], RGB; None where no image is needed.
          feature: descriptors float [n, d] of the detections, for which `embed` is then not called. Predictions are
            without appearance then.

        Raises InputError for boxes that are not finite or have no area, and for descriptors of another shape.
        """
        box = _checked(box)
        if feature is not None and (np.ndim(feature) != 2 or len(feature) != len(box)):
            raise InputError(f"{len(box)} boxes have descriptors of shape {list(np.shape(feature))}; give [n, d]")
        self._frame += 1
        self._predict()
        candidates = self._candidates(box, frame, feature)
        is_detection = candidates.track == _DETECTION
        free = np.ones(len(is_detection), bool)
        found: dict[int, int] = {}  # track: candidate

        def pair(state: _State, cost: Callable, alone: float, allowed: np.ndarray) -> None:
            """Adds to `found` the best pairs of tracks in a state and candidates, of those that are free."""
            track = np.array([t for t in self._rows(state) if t not in found], np.int64)
            candidate = np.flatnonzero(allowed & free)
            row, column = assign(cost(track, candidates.select(candidate)), alone)
            free[candidate[column]] = False
            found.update(zip(track[row].tolist(), candidate[column].tolist(), strict=True))

        by_appearance, farthest = self._appearance_cost, self.settings.most_distance
        if candidates.feature is None:
            by_appearance, farthest = self._gated_distance, self.settings.gate
        overlap = self.settings.most_overlap_cost
        pair(_State.TRACKED, by_appearance, farthest, is_detection)
        pair(_State.LOST, by_appearance, farthest, is_detection)
        pair(_State.TRACKED, self._overlap_cost, overlap, np.ones_like(is_detection))
        pair(_State.NEW, self._overlap_cost, overlap, is_detection)
        self._update(found, candidates)
        begins = free & is_detection & (candidates.score >= self.settings.start_score)
        self._begin(candidates.select(np.flatnonzero(begins)))
        return self._seen()

    def _rows(self, *states: _State) -> list[int]:
        return [row for row, track in enumerate(self._tracks) if track.state in states]

    def _predict(self) -> None:
        tracked = np.array([track.state is _State.TRACKED for track in self._tracks], bool)
        velocity = self._motion.velocity.copy()
        velocity[~tracked, kalman.HEIGHT] = 0
        self._motion = kalman.predict(dataclasses.replace(self._motion, velocity=velocity))

    def _candidates(self, detection: np.ndarray, frame: np.ndarray | None, given: np.ndarray | None) -> _Candidates:
        """Detections and predictions after thinning out, described."""
        settings = self.settings
        image_size = self._image_size if frame is None else frame.shape[:2]
        own = np.array(self._rows(_State.TRACKED, _State.LOST), np.int64)
        box = np.concatenate([detection, self._motion.boxes[own]])
        track = np.concatenate([np.full(len(detection), _DETECTION), own])
        prior = np.concatenate([np.ones(len(detection)), [self._prior(self._tracks[row]) for row in own]])
        # Before anything looks at the frame: what lies outside of it, and tracks that drifted away.
        score = prior * (inside(box, image_size) >= settings.least_inside)
        worth = score > 0
        feature = None
        if self._box_score == APPEARANCE:
            feature = self._describe(box, frame, given, worth)
            score = score * self._likeness(track, feature)
        elif self._box_score is not None and worth.any():
            score[worth] *= np.asarray(self._box_score(frame, box[worth]), np.float64)
        for row, own_score in zip(own, score[len(detection) :], strict=True):
            self._tracks[row].score = own_score
        enough = np.flatnonzero(score >= settings.least_score)
        kept = np.sort(enough[thin_out(box[enough], score[enough], settings.most_overlap)])
        if feature is None:
            keep = np.zeros(len(box), bool)
            keep[kept] = True
            feature = self._describe(box, frame, given, keep)
        return _Candidates(box, score, track, feature).select(kept)

    def _prior(self, track: _Track) -> float:
        if track.detections <= self.settings.least_detections:
            return 0.0
        return max(0.0, 1 - float(np.log1p(self.settings.decay * track.predictions)))

    def _describe(
        self, box: np.ndarray, frame: np.ndarray | None, given: np.ndarray | None, which: np.ndarray
    ) -> np.ndarray | None:
        """Unit descriptors float32 [k, d] of the boxes that `which`, bool [k], names, in one call; NaN elsewhere."""
        if given is not None:  # detections come first
            described = np.full((len(box), np.shape(given)[1]), np.nan, np.float32)
            described[: len(given)] = given
        elif self._embed is None:
            return None
        else:
            found = np.zeros((0, 1), np.float32)
            if which.any():
                whole = box[which] if frame is None else whole_pixels(box[which], frame.shape[:2])
                found = np.asarray(self._embed(frame, whole), np.float32)
                if found.ndim != 2 or len(found) != len(whole):
                    raise InputError(
                        f"the embedder returned {list(found.shape)} for {len(whole)} boxes; it must be [n, d]"
                    )
            described = np.full((len(box), found.shape[1]), np.nan, np.float32)
            described[which] = found
        return unit(described)

    def _likeness(self, track: np.ndarray, feature: np.ndarray) -> np.ndarray:
        """How near each prediction [k] looks to its own track, 0 to 1; 1 for detections and what is not known."""
        score = np.ones(len(track))
        farthest = self.settings.doubt * self.settings.most_distance
        for row in np.flatnonzero(track != _DETECTION):
            distance = self._tracks[track[row]].features.distances(feature[row : row + 1])[0]
            if np.isfinite(distance):
                score[row] = max(0.0, 1 - distance / farthest) if farthest else float(distance == 0)
        return score

    def _gated_distance(self, track: np.ndarray, candidates: _Candidates) -> np.ndarray:
        """How far from where the tracks are expected: float [m, n], infinite beyond the gate."""
        distance = kalman.gating_distance(self._motion.select(track), candidates.box)
        return np.where(distance <= self.settings.gate, distance, np.inf)

    def _appearance_cost(self, track: np.ndarray, candidates: _Candidates) -> np.ndarray:
        """The distances of appearance within the gate: float [m, n], infinite beyond it and where one is not known."""
        cost = np.full((len(track), len(candidates.box)), np.inf)
        near = np.isfinite(self._gated_distance(track, candidates)) & np.isfinite(candidates.feature).all(axis=1)
        for row in np.flatnonzero(near.any(axis=1)):
            columns = np.flatnonzero(near[row])
            cost[row, columns] = self._tracks[track[row]].features.distances(candidates.feature[columns])
        return cost

    def _overlap_cost(self, track: np.ndarray, candidates: _Candidates) -> np.ndarray:
        return 1 - iou(self._motion.boxes[track], candidates.box)

    def _update(self, found: dict[int, int], candidates: _Candidates) -> None:
        """Updates the tracks that were found; the others are lost, or removed."""
        rows, chosen = np.array(list(found), np.int64), np.array(list(found.values()), np.int64)
        measured = kalman.update(self._motion.select(rows), candidates.box[chosen])
        self._motion = self._motion.replaced(rows, measured)
        for row, candidate in found.items():
            track = self._tracks[row]
            if track.state is _State.LOST:
                track.detections = track.predictions = 0
            if candidates.track[candidate] == _DETECTION:
                track.detections, track.predictions = track.detections + 1, 0
            else:
                track.predictions += 1
            if track.state is _State.NEW:
                self._identities += 1
                track.identity = self._identities
            track.state, track.frame, track.score = _State.TRACKED, self._frame, float(candidates.score[candidate])
            self._remember(track, candidates, candidate)
        kept = []
        for row, track in enumerate(self._tracks):
            if row not in found and track.state is _State.TRACKED:
                track.state = _State.LOST
            missing = self._frame - track.frame
            if row in found or (track.state is _State.LOST and missing <= self.settings.lost_frames):
                kept.append(row)
        self._tracks = [self._tracks[row] for row in kept]
        self._motion = self._motion.select(np.array(kept, np.int64))

    def _begin(self, candidates: _Candidates) -> None:
        self._motion = self._motion.joined(kalman.start(candidates.box))
        for candidate in range(len(candidates.box)):
            track = _Track(_Features(self.settings.features), self._frame, float(candidates.score[candidate]))
            self._remember(track, candidates, candidate)
            self._tracks.append(track)

    def _remember(self, track: _Track, candidates: _Candidates, candidate: int) -> None:
        if candidates.feature is not None and np.isfinite(candidates.feature[candidate]).all():
            track.features.add(candidates.feature[candidate])

    def _seen(self) -> Seen:
        settings = self.settings

        def is_shown(track: _Track) -> bool:
            if track.state is _State.LOST:
                briefly = self._frame - track.frame <= settings.shown_lost_frames
                return briefly and track.score > settings.shown_lost_score
            return track.state is _State.TRACKED

        rows = [row for row, track in enumerate(self._tracks) if is_shown(track)]
        tracks = [self._tracks[row] for row in rows]
        return Seen(
            np.array([track.identity for track in tracks], np.int64),
            self._motion.boxes[rows],
            np.array([track.score for track in tracks], np.float64),
        )


def _checked(box: np.ndarray) -> np.ndarray:
    """The boxes as float64 [n, 4]; see `Tracker.step` for what raises InputError."""
    box = np.asarray(box, np.float64)
    box = box.reshape(0, 4) if not box.size else box
    if box.ndim != 2 or box.shape[1] != 4:
        raise InputError(f"boxes have shape {list(box.shape)}; give [n, 4], each (left, top, right, bottom) in pixels")
    sound = np.isfinite(box).all(axis=1) & (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
    if not sound.all():
        wrong = [f"{row} ({', '.join(f'{side:g}' for side in box[row])})" for row in np.flatnonzero(~sound)]
        raise InputError(
            f"{len(wrong):,} of {len(box):,} boxes have no area or are not finite: box {first_few(wrong)}, counted "
            "from 0; give (left, top, right, bottom) in pixels, or leave these out"
        )
    return box


def unit(described: np.ndarray) -> np.ndarray:
    """The descriptors [n, d] at norm 1, float32; NaN in the place of one that is 0 or not finite."""
    described = np.asarray(described, np.float32)
    norm = np.linalg.norm(described, axis=1, keepdims=True)
    return np.divide(described, norm, out=np.full_like(described, np.nan), where=np.isfinite(norm) & (norm > 0))
