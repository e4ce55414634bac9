"""A tracker over the frames of a source: detections in, results out, and what it took."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from reid_jax.errors import InputError, shown
from reid_jax.progress import progress_bar, tell
from reid_jax.tracking.boxes import sized
from reid_jax.tracking.frames import Frames
from reid_jax.tracking.mot_files import Rows
from reid_jax.tracking.motdt import BoxScore, Embed, Seen, Settings, Tracker
from reid_jax.tracking.render import Film, Painter
from reid_jax.tracking.results_file import ResultsFile


@dataclasses.dataclass(frozen=True)
class Followed:
    """What following people through frames came to.

    seconds: of everything, reading and drawing too; embedding and tracking: of these alone.
    boxes: rows of results.
    """

    frames: int
    identities: int
    boxes: int
    seconds: float
    embedding: float
    tracking: float

    def __str__(self) -> str:
        frames = max(self.frames, 1)
        rate = self.frames / self.seconds if self.seconds else 0
        return (
            f"{self.frames:,} frames, {self.identities:,} people, {self.boxes:,} boxes; {rate:.1f} frames/s; the "
            f"tracker {1e3 * self.tracking / frames:.2f} ms a frame, embedding {1e3 * self.embedding / frames:.2f}"
        )


class _Timed:
    """A call and the seconds spent in it."""

    def __init__(self, call: Callable[..., Any]):
        self._call = call
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        begin = time.perf_counter()
        try:
            return self._call(*arguments)
        finally:
            self.seconds += time.perf_counter() - begin


def follow(
    frames: Frames,
    detections: Rows,
    results: ResultsFile,
    *,
    embed: Embed | None = None,
    features: np.ndarray | None = None,
    box_score: BoxScore | str | None = None,
    settings: Settings = Settings(),  # noqa: B008 (it is frozen)
    film: Film | None = None,
    progress: bool = False,
) -> Followed:
    """Follows people through all frames and writes who was seen, frame by frame.

    Args:
      frames: the source; see `frames.open_frames`.
      detections: of its frames, in any order; a frame may have none.
      results: an open file.
      embed: what describes boxes; None for none.
      features: descriptors [n, d] of the n detections, in their order, in the place of `embed`.
      box_score, settings: see `motdt.Tracker`.
      film: where drawn frames go.
      progress: whether a bar on stderr shows how far it is.

    Raises InputError where detections are of frames that do not exist, before anything is done if the number of frames
    is certain; and for what else cannot be read or is asked of a source without images. A video that ends before as
    many frames as it says gives results of those it has, and a note; one that has more is followed to its end.
    """
    last = int(detections.frame.max(initial=0))
    _require_frames(frames, last, frames.count if frames.is_counted else None)
    if not frames.has_images and (embed is not None or film is not None):
        raise InputError(f"{shown(frames.name)} has no images, which descriptors and drawing need; give the frames")
    timed = None if embed is None else _Timed(embed)
    tracker = Tracker(timed, box_score, settings, frames.image_size)
    by_frame, box = detections.by_frame(), detections.corners
    painter = Painter()
    nobody = np.zeros(0, np.int64)
    number = boxes = 0
    tracking = 0.0
    begin = time.perf_counter()
    with progress_bar(frames.count, "tracking" if progress else "", "frames") as bar:
        for number, frame in enumerate(frames.read(), 1):
            rows = by_frame.get(number, nobody)
            started = time.perf_counter()
            seen = tracker.step(box[rows], frame, None if features is None else features[rows])
            tracking += time.perf_counter() - started
            results.write(_rows(number, seen))
            boxes += len(seen)
            if film is not None:
                film.add(painter.draw(frame, seen))
            bar.update()
    _require_frames(frames, last, number)
    if frames.count is not None and number < frames.count:
        tell(f"{shown(frames.name)} ends after {number:,} frames though it says {frames.count:,}; so do the results")
    embedding = 0.0 if timed is None else timed.seconds
    seconds = time.perf_counter() - begin
    return Followed(number, tracker.identities, boxes, seconds, embedding, tracking - embedding)


def _rows(number: int, seen: Seen) -> Rows:
    return Rows.of(np.full(len(seen), number), sized(seen.box), identity=seen.identity, confidence=seen.score)


def _require_frames(frames: Frames, last: int, count: int | None) -> None:
    if count is not None and last > count:
        raise InputError(
            f"the detections go to frame {last:,}, but {shown(frames.name)} has {count:,} frames; give the detections "
            "of these frames, which count from 1"
        )
