"""Who was seen, drawn: boxes, identities and trails on frames, into a folder of images or a video."""

import colorsys
import contextlib
import itertools
import os
from collections import defaultdict, deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid_jax.errors import InputError, shown
from reid_jax.files.leftovers import temporary_file
from reid_jax.files.writing import replace_file
from reid_jax.tracking.frames import require_av
from reid_jax.tracking.motdt import Seen

VIDEO_ENDINGS = (".mp4", ".mkv")

_TRAIL = 60  # frames that a trail reaches back
_FRAME_RATE = 25  # where the source does not say
_GOLDEN = (5**0.5 - 1) / 2  # of the colour circle, from one identity to the next: neighbours differ most
_QUALITY = 90  # of JPEGs


def colour_of(identity: int) -> tuple[int, int, int]:
    """An identity's colour, (red, green, blue): the same in every frame and run."""
    hue = identity * _GOLDEN % 1
    lightness = (0.5, 0.65, 0.4)[identity % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


class Painter:
    """Draws frame after frame and remembers where people walked."""

    def __init__(self, trail: int = _TRAIL):
        """`trail` is how many frames a trail reaches back."""
        self._frame = 0
        self._trail = trail
        self._walked: dict[int, deque] = defaultdict(deque)  # (frame, x, y) of the feet

    def draw(self, frame: np.ndarray, seen: Seen) -> np.ndarray:
        """Returns the next frame, uint8 [h, w, 3] RGB, with who is seen in it; what is given stays as it is."""
        self._frame += 1
        for identity, (left, _, right, bottom) in zip(seen.identity.tolist(), seen.box, strict=True):
            self._walked[identity].append((self._frame, (left + right) / 2, bottom))
        for identity, walked in list(self._walked.items()):
            while walked and walked[0][0] <= self._frame - self._trail:
                walked.popleft()
            if not walked:
                del self._walked[identity]
        image = Image.fromarray(frame)  # a copy
        draw = ImageDraw.Draw(image)
        thick = max(1, round(min(image.size) / 300))
        for identity, walked in self._walked.items():
            for (before, *start), (after, *end) in itertools.pairwise(walked):
                if after == before + 1:  # where nobody was seen there is no trail
                    draw.line([*start, *end], colour_of(identity), thick)
        letters = ImageFont.load_default(max(10, round(min(image.size) / 40)))
        for identity, box in zip(seen.identity.tolist(), seen.box, strict=True):
            colour = colour_of(identity)
            draw.rectangle(tuple(box), outline=colour, width=thick)
            _write_identity(draw, str(identity), box[:2], colour, letters, image.size)
        return np.asarray(image)


def _write_identity(draw: ImageDraw.ImageDraw, text: str, corner: np.ndarray, colour, letters, size) -> None:
    """The identity on a plate of its colour, above the box, or as far up as the frame goes."""
    left, top, right, bottom = draw.textbbox((0, 0), text, letters)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(corner[0], 0), max(size[0] - width, 0))
    y = min(max(corner[1] - height, 0), max(size[1] - height, 0))
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    red, green, blue = colour
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    draw.text((x + 2 - left, y + 2 - top), text, (255, 255, 255) if dark else (0, 0, 0), letters)


class Film(Protocol):
    """Where drawn frames go."""

    def add(self, frame: np.ndarray) -> None:
        """Takes the next frame, uint8 [h, w, 3] RGB."""


@contextlib.contextmanager
def film(path: str | os.PathLike, frame_rate: float | None = None) -> Iterator[Film]:
    """Gives where to put frames: a video where `path` ends in .mp4 or .mkv, a folder of JPEGs otherwise.

    A video is complete or not there; a folder fills up, 000001.jpg and so on, and what is in it of that name is
    written over. Raises InputError where it cannot be written, or PyAV is missing for a video.
    """
    path = Path(path)
    if path.suffix.lower() not in VIDEO_ENDINGS:
        yield _Folder(path)
        return
    av = require_av()
    temporary = temporary_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(temporary.absolute()), "w") as container:
            video = _Video(av, container, frame_rate or _FRAME_RATE)
            yield video
            video.end()
        os.replace(temporary, path)
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(f"cannot write {shown(path)}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class _Folder:
    def __init__(self, folder: Path):
        self._folder = folder
        self._frame = 0

    def add(self, frame: np.ndarray) -> None:
        self._frame += 1
        image = Image.fromarray(frame)
        path = self._folder / f"{self._frame:06d}.jpg"
        replace_file(path, lambda temporary: image.save(temporary, format="JPEG", quality=_QUALITY))


class _Video:
    def __init__(self, av, container, frame_rate: float):
        self._av, self._container = av, container
        self._rate = round(frame_rate * 1000)
        self._stream = None

    def add(self, frame: np.ndarray) -> None:
        height, width = (side // 2 * 2 for side in frame.shape[:2])  # H.264 stores colours of four pixels together
        if not (height and width):
            raise InputError(
                f"frames are {frame.shape[1]} x {frame.shape[0]} pixels (width x height), and a video takes 2 or more "
                "each way; name a folder"
            )
        if self._stream is None:
            codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(codec, rate=Fraction(self._rate, 1000))
            self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        even = np.ascontiguousarray(frame[:height, :width])
        self._container.mux(self._stream.encode(self._av.VideoFrame.from_ndarray(even, format="rgb24")))

    def end(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
