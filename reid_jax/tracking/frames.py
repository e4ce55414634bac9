"""Frames to track people in: of a sequence folder, a folder of images, or a video file.

`open_frames` finds out which. Frames count from 1 in the order in which `read` gives them, RGB pixels uint8 [h, w, 3].
"""

import dataclasses
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from reid_jax.data.builders.files import FileTree
from reid_jax.data.decode import MOST_PIXELS, decode
from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError, first_few, shown
from reid_jax.tracking.detections import by_number
from reid_jax.tracking.sequences import Sequence, is_sequence, read_sequence

# FFmpeg's demuxer for each ending that a video may have. It is named, not guessed: a playlist under another name could
# lead FFmpeg to other files and to the network.
VIDEO_FORMAT_OF = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".avi": "avi",
    ".mkv": "matroska",
    ".webm": "matroska",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
    ".ts": "mpegts",
    ".flv": "flv",
}


class Frames(Protocol):
    """Frames in order.

    name: what messages and results call them.
    count: how many there are, as their source says; None where it does not say. A video may end before.
    frame_rate: frames a second; None where that is not known.
    image_size: (height, width) in pixels; None where no frame was seen yet.
    has_images: whether there are pixels; without, `read` gives None for each frame.
    """

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int | None: ...
    @property
    def frame_rate(self) -> float | None: ...
    @property
    def image_size(self) -> tuple[int, int] | None: ...
    @property
    def has_images(self) -> bool: ...

    def read(self) -> Iterator[np.ndarray | None]:
        """Yields the frames; raises InputError for one that cannot be decoded or has another size than the first."""


def open_frames(source: str | os.PathLike, needs_images: bool = True) -> Frames:
    """Opens a sequence folder, a folder of images or a video file; a sequence's images are read only if needed.

    Raises InputError where `source` is none of these, where frames are missing in between, or all of a sequence's are
    although `needs_images` asks for them.
    """
    path = Path(source)
    if is_sequence(path):
        return SequenceFrames.of(read_sequence(path), needs_images)
    if path.is_dir():
        return FolderFrames.of(path)
    if not path.exists():
        raise InputError(f"there is no {shown(path)}; name a sequence folder, a folder of frames or a video file")
    if path.suffix.lower() not in VIDEO_FORMAT_OF:
        raise InputError(
            f"{shown(path)} is no folder, and no video by its ending ({', '.join(VIDEO_FORMAT_OF)}); name a sequence "
            "folder, a folder of frames or a video file"
        )
    return VideoFrames(path)


@dataclasses.dataclass(frozen=True)
class FolderFrames:
    """Images in a folder, by the last number in their names, or by their names where these have none."""

    folder: Path
    names: tuple[str, ...]
    image_size: tuple[int, int] | None = None
    frame_rate: float | None = None
    has_images = True

    @classmethod
    def of(cls, folder: Path) -> "FolderFrames":
        """Lists a folder's images; raises InputError where it has none, or one is missing between two."""
        images, _ = FileTree(folder).images(deep=False)
        names = sorted((entry.name for entry in images), key=by_number)
        if not names:
            raise InputError(
                f"{shown(folder)} holds no image ({', '.join(IMAGE_ENDINGS)}) and no seqinfo.ini; name a folder of "
                "frames or a sequence folder"
            )
        _require_no_gap(folder, names)
        return cls(folder, tuple(names))

    @property
    def name(self) -> str:
        """See `Frames.name`."""
        return self.folder.resolve().name

    @property
    def count(self) -> int:
        """See `Frames.count`."""
        return len(self.names)

    def read(self) -> Iterator[np.ndarray]:
        """See `Frames.read`."""
        tree = FileTree(self.folder)
        size = self.image_size
        for name in self.names:
            try:
                frame = decode(tree.read(name))
            except InputError as error:
                raise InputError(f"frame {shown(self.folder / name)}: {error}") from error
            size = size or frame.shape[:2]
            _require_size(shown(self.folder / name), frame, size)
            yield frame


@dataclasses.dataclass(frozen=True)
class SequenceFrames:
    """The frames of a sequence folder; their number, rate and size as its seqinfo.ini says."""

    sequence: Sequence
    has_images: bool

    @classmethod
    def of(cls, sequence: Sequence, needs_images: bool) -> "SequenceFrames":
        """Looks for the images, which are read only if needed.

        Raises InputError where some are missing, or all and `needs_images` asks for them.
        """
        folder = sequence.folder / sequence.images
        there = set(os.listdir(folder)) if folder.is_dir() else set()
        files = [sequence.image(number).name for number in range(1, sequence.length + 1)]
        missing = [name for name in files if name not in there]
        if missing and (needs_images or len(missing) < len(files)):
            raise InputError(
                f"{len(missing):,} of {sequence.length:,} frames of {shown(sequence.name)} are missing in "
                f"{shown(folder)}: {first_few(missing)}; fetch them again, or mend seqLength and imExt in seqinfo.ini"
            )
        return cls(sequence, needs_images)

    @property
    def name(self) -> str:
        """See `Frames.name`."""
        return self.sequence.name

    @property
    def count(self) -> int:
        """See `Frames.count`."""
        return self.sequence.length

    @property
    def frame_rate(self) -> float:
        """See `Frames.frame_rate`."""
        return self.sequence.frame_rate

    @property
    def image_size(self) -> tuple[int, int]:
        """See `Frames.image_size`."""
        return self.sequence.image_size

    def read(self) -> Iterator[np.ndarray | None]:
        """See `Frames.read`."""
        if not self.has_images:
            return iter([None] * self.count)
        names = tuple(self.sequence.image(number).name for number in range(1, self.count + 1))
        return FolderFrames(self.sequence.folder / self.sequence.images, names, self.image_size).read()


class VideoFrames:
    """The frames of a video file's first video stream, decoded by PyAV."""

    has_images = True

    def __init__(self, path: str | os.PathLike):
        """Opens the file; raises InputError where PyAV is missing or the file is no video."""
        self.path = Path(path)
        self.name = self.path.stem
        self._av = require_av()
        with self._open() as container:
            stream = self._stream(container)
            self.count: int | None = stream.frames or None
            self.frame_rate: float | None = float(stream.average_rate) if stream.average_rate else None
            self.image_size: tuple[int, int] = (stream.height, stream.width)

    def read(self) -> Iterator[np.ndarray]:
        """See `Frames.read`; a video that ends before `count` frames just ends."""
        number = 0
        with self._open() as container:
            stream = self._stream(container)
            stream.thread_type = "AUTO"
            try:
                for decoded in container.decode(stream):
                    frame = decoded.to_ndarray(format="rgb24")
                    number += 1
                    _require_size(f"frame {number} of {shown(self.path)}", frame, self.image_size)
                    yield frame
            except self._av.error.FFmpegError as error:
                raise InputError(
                    f"{shown(self.path)} cannot be decoded after frame {number} ({shown(error)}); fetch it again"
                ) from error

    def _open(self):
        try:
            return self._av.open(str(self.path.resolve()), format=VIDEO_FORMAT_OF[self.path.suffix.lower()])
        except (self._av.error.FFmpegError, OSError) as error:
            raise InputError(f"{shown(self.path)} is no video that can be read ({shown(error)})") from error

    def _stream(self, container):
        if not container.streams.video:
            raise InputError(f"{shown(self.path)} has no video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None or not 0 < stream.width * stream.height <= MOST_PIXELS:
            raise InputError(
                f"{shown(self.path)} has frames of {stream.width:,} x {stream.height:,} pixels, or a codec that is not "
                f"known; at most {MOST_PIXELS:,} pixels are read"
            )
        return stream


def require_av():
    """Returns the module av; raises InputError where PyAV is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise InputError(
            f"videos need PyAV ({shown(error)}): pip install 'reid_jax[track]', or give a folder of frames"
        ) from error


def _require_size(where: str, frame: np.ndarray, image_size: tuple[int, int]) -> None:
    if frame.shape[:2] != tuple(image_size):
        (height, width), (rows, columns) = image_size, frame.shape[:2]
        raise InputError(f"{where} is {columns} x {rows} pixels (width x height), others {width} x {height}")


def _require_no_gap(folder: Path, names: list[str]) -> None:
    """Raises InputError where the numbers in the names leave some out: frames after it would be numbered wrongly.

    Numbers of which most are one step apart count frames; others are times, which may lie as they like.
    """
    keys = [by_number(name) for name in names]
    if any(key[1] < 0 for key in keys) or len({key[0] for key in keys}) > 1:
        return  # not numbered: by their names
    steps = np.diff([key[1] for key in keys])
    if not len(steps):
        return
    step = steps.min()
    if step == 0:
        twice = int(np.argmin(steps))
        raise InputError(f"{shown(folder)} has frame {names[twice]} and {names[twice + 1]}; leave one of these")
    gaps = np.flatnonzero(steps > step)
    if 0 < len(gaps) < len(steps) / 2:
        between = [f"between {names[gap]} and {names[gap + 1]}" for gap in gaps]
        raise InputError(
            f"{shown(folder)} lacks frames in {len(gaps):,} place(s): {first_few(between)}; fetch them again, or name "
            "the frames anew without a gap"
        )
