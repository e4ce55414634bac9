"""Frames to track people in: of a sequence folder, a folder of images, or a video file.

`open_frames` finds out which. Frames count from 1 in the order in which `read` gives them, RGB pixels uint8 [h, w, 3].
"""

import dataclasses
import importlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from reid_jax.data.builders.files import FileTree
from reid_jax.data.decode import MOST_PIXELS, decode
from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError, first_few, shown
from reid_jax.tracking.numbering import in_order
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
    count: how many there are, as their source says; None where it does not say.
    is_counted: whether there are just so many; a video's header only guesses, and it may have fewer or more.
    frame_rate: frames a second; None where that is not known.
    image_size: (height, width) in pixels; None where no frame was seen yet.
    has_images: whether there are pixels; without, `read` gives None for each frame.
    """

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int | None: ...
    @property
    def is_counted(self) -> bool: ...
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
    """Images in a folder, by their names and the numbers in these; see `numbering`."""

    folder: Path
    names: tuple[str, ...]
    image_size: tuple[int, int] | None = None
    frame_rate: float | None = None
    has_images = True
    is_counted = True

    @classmethod
    def of(cls, folder: Path) -> "FolderFrames":
        """Lists a folder's images; raises InputError where it has none, or one is missing between two."""
        images, _ = FileTree(folder).images(deep=False)
        names = in_order(
            (entry.name for entry in images), folder, "fetch them again, or name the frames anew without a gap"
        )
        if not names:
            raise InputError(
                f"{shown(folder)} holds no image ({', '.join(IMAGE_ENDINGS)}) and no seqinfo.ini; name a folder of "
                "frames or a sequence folder"
            )
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
    """The frames of a sequence folder; their number, rate and size as its seqinfo.ini says.

    names: of their files, in order; none where no images are read.
    """

    sequence: Sequence
    names: tuple[str, ...]
    is_counted = True

    @classmethod
    def of(cls, sequence: Sequence, needs_images: bool) -> "SequenceFrames":
        """Looks for the images, which are read only if needed.

        Raises InputError where some are missing, or all and `needs_images` asks for them.
        """
        folder = sequence.folder / sequence.images
        found = sequence.images_among(os.listdir(folder) if folder.is_dir() else ())
        missing = sequence.length - len(found)  # seqLength may be anything: nothing is made of that size
        if missing and (needs_images or found):
            numbers = (number for number in range(1, sequence.length + 1) if number not in found)
            names = [sequence.image(number).name for number in itertools.islice(numbers, 5)]
            more = f" and {missing - len(names):,} more" if missing > len(names) else ""
            raise InputError(
                f"{missing:,} of {sequence.length:,} frames of {shown(sequence.name)} are missing in "
                f"{shown(folder)}: {first_few(names)}{more}; fetch them again, or mend seqLength and imExt in "
                "seqinfo.ini"
            )
        return cls(sequence, tuple(found[number] for number in sorted(found)) if needs_images else ())

    @property
    def has_images(self) -> bool:
        """See `Frames.has_images`."""
        return bool(self.names)

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
            return itertools.repeat(None, self.count)
        return FolderFrames(self.sequence.folder / self.sequence.images, self.names, self.image_size).read()


class VideoFrames:
    """The frames of a video file's first video stream, decoded by PyAV and turned upright, as its header says.

    `count` is the header's, which is wrong for some, such as one that was written in fragments.
    """

    has_images = True
    is_counted = False

    def __init__(self, path: str | os.PathLike):
        """Opens the file; raises InputError where PyAV is missing or the file is no video."""
        self.path = Path(path)
        self.name = self.path.stem
        self._av = require_av()
        with self._open() as container:
            stream = self._stream(container)
            self.count: int | None = stream.frames or None
            self.frame_rate: float | None = float(stream.average_rate) if stream.average_rate else None
            sides = (stream.height, stream.width)
            self._turns = self._turns_of(container, stream)
            self.image_size: tuple[int, int] = sides[::-1] if self._turns % 2 else sides

    def read(self) -> Iterator[np.ndarray]:
        """See `Frames.read`."""
        number = 0
        with self._open() as container:
            stream = self._stream(container)
            stream.thread_type = "AUTO"
            try:
                for decoded in container.decode(stream):
                    frame = np.ascontiguousarray(np.rot90(decoded.to_ndarray(format="rgb24"), self._turns))
                    number += 1
                    _require_size(f"frame {number} of {shown(self.path)}", frame, self.image_size)
                    yield frame
            except self._av.error.FFmpegError as error:
                raise InputError(
                    f"{shown(self.path)} cannot be decoded after frame {number} ({shown(error)}); fetch it again"
                ) from error

    def _turns_of(self, container, stream) -> int:
        """By how many right angles counterclockwise frames are to be turned: telephones film lying on their side.

        The first frame says it; PyAV tells it of no stream, and older ones not at all.
        """
        try:
            first = next(container.decode(stream), None)
        except self._av.error.FFmpegError:  # `read` tells it
            return 0
        return round(getattr(first, "rotation", 0) / 90) % 4

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
