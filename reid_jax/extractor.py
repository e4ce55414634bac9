"""`Extractor`: weights of a run in, descriptors of a user's own images out."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from reid_jax import parallel, zoo
from reid_jax.cpu import cores
from reid_jax.data.builders.files import FileTree
from reid_jax.data.decode import decode, from_pillow, resize
from reid_jax.describe import Describer
from reid_jax.errors import InputError, first_few, shown
from reid_jax.export.reading import describer_of, open_weights
from reid_jax.progress import progress_bar
from reid_jax.ranges import choice, require

COLOURS = ("rgb", "bgr")

_IMAGES_AT_ONCE = 1024  # decoded at a time: bounds the memory for any number of images

Picture = str | os.PathLike | Image.Image | np.ndarray  # a file, a Pillow image, or pixels uint8 [h, w, 3]


class BrokenImages(InputError):
    """Images that cannot be read or decoded.

    `reasons` has 'name (why)' of each; they were found among `count` images, in a place that the message has as
    `where`, and `kept` says what is done all the same.
    """

    def __init__(self, reasons: Sequence[str], count: int, where: str = "", kept: str = ""):
        """See above."""
        self.reasons = list(reasons)
        super().__init__(
            f"{len(reasons):,} of {count:,} images{where} cannot be decoded: {first_few(reasons)}; fetch these again "
            f"or take them out{kept}"
        )


class Extractor:
    """Describes person images with the weights of a run.

        from reid_jax import Extractor

        extractor = Extractor("runs/1x")
        descriptors = extractor(["a.jpg", "b.jpg"])  # float32 [2, d], unit norm
        of_boxes = extractor(frame, boxes, colour="bgr")  # a frame of OpenCV's, boxes float [n, 4]

    Two images are compared by the dot product of their descriptors, at most 1: the larger, the more alike. Images of
    any size are resized as evaluation does it, so that equal files give equal descriptors. The weights are put on the
    devices once, and images are spread over all of them.

    Attributes:
      dimensions: d, the length of a descriptor.
      image_size: (height, width) in pixels that images are resized to.
      streams: the widths of the vectors that a descriptor concatenates.
      digest: of the weights, 64 hexadecimal digits; descriptors of equal digests can be compared.
      flip: whether a descriptor is the mean of the image's and its mirror image's.
      encoder: the network with its weights on the devices, or an exported file.
    """

    def __init__(self, weights: str | os.PathLike | Describer | None = None, *, flip: bool = False):
        """Reads `weights`: a run's workdir, a .safetensors file, one of `reid-jax export`, or zoo:NAME.

        Without any it takes those that come with the package, and says so. An encoder is taken as it is.

        Raises InputError for a missing or foreign file; see `reid_jax.weights.load_weights`.
        """
        if weights is None:
            weights = f"{zoo.PREFIX}{zoo.DEFAULT}"
            own = f"your own weights in {zoo.place_of(zoo.DEFAULT)}"
            about = own if zoo.is_own(zoo.DEFAULT) else zoo.ENTRIES[zoo.DEFAULT].about
            print(f"Extractor: {weights}, {about}; see reid-jax zoo show {zoo.DEFAULT}", file=sys.stderr)
        if not isinstance(weights, Describer):
            weights = describer_of(open_weights(weights), parallel.create_mesh())
        self.encoder = weights
        self.flip = flip

    @property
    def dimensions(self) -> int:
        """See the class."""
        return self.encoder.dimensions

    @property
    def image_size(self) -> tuple[int, int]:
        """See the class."""
        return self.encoder.image_size

    @property
    def streams(self) -> tuple[int, ...]:
        """See the class."""
        return self.encoder.streams

    @property
    def digest(self) -> str:
        """See the class."""
        return self.encoder.digest

    def __call__(
        self,
        images: Picture | Sequence[Picture],
        boxes: np.ndarray | None = None,
        *,
        colour: str | None = None,
    ) -> np.ndarray:
        """Returns the descriptors of images, or of the boxes of one frame: float32 [n, d], unit norm.

        Args:
          images: a picture or a sequence of them, mixed as you like: paths of image files, Pillow images, and arrays
            uint8 [h, w, 3] of any size; or a stack of images, uint8 [n, h, w, 3]. With `boxes` one picture, the frame.
          boxes: float [n, 4], (left, top, right, bottom) in pixels of the frame. They are rounded to whole pixels and
            clipped to the frame. No box gives descriptors [0, d].
          colour: the order of the channels of arrays, 'rgb' or 'bgr' (OpenCV's). It is never guessed, so arrays need
            it; files and Pillow images say it themselves.

        Raises:
          InputError: images that cannot be read, all of them counted and the first five named; an array of another
            shape or type, or without `colour`; a box that is not finite, or has no pixel inside of the frame.
        """
        if colour is not None:
            require("colour", colour, choice(COLOURS))
        if boxes is not None:
            pictures = _crops(_frame(images, colour), boxes)
            return self._describe(_numbered("box", len(pictures)), lambda row: resize(pictures[row], self.image_size))
        try:
            pictures = [images] if _is_picture(images) else list(images)
        except TypeError as error:
            raise InputError(
                f"images are {shown(type(images).__name__)}; give paths, Pillow images or arrays"
            ) from error
        if colour is None and any(map(_is_array, pictures)):
            raise InputError(
                "images are arrays, which do not say the order of their channels; say colour='rgb' or 'bgr'"
            )
        names = [
            shown(os.fspath(picture)) if _is_path(picture) else name
            for picture, name in zip(pictures, _numbered("image", len(pictures)), strict=True)
        ]
        return self._describe(names, lambda row: _pixels(pictures[row], colour, self.image_size))

    def describe_files(
        self, names: Sequence[str], read: Callable[[str], bytes], place: str, progress: str = ""
    ) -> np.ndarray:
        """Returns the descriptors of image files anywhere, such as in a zip: float32 [n, d], unit norm.

        `read` gives a file's bytes by its name, and is called from several threads. Messages call what holds the files
        `place`; `progress` names a bar on stderr where it is not empty. Memory beside the descriptors is that of two
        thousand images. Raises BrokenImages for those that cannot be read or decoded, as `__call__` does.
        """
        return self._describe(names, lambda row: decode(read(names[row]), self.image_size), f" in {place}", progress)

    def _describe(
        self, names: Sequence[str], load: Callable[[int], np.ndarray], where: str = "", progress: str = ""
    ) -> np.ndarray:
        """Describes what `load` gives, image `row` as uint8 [*image_size, 3]; it is called in threads."""
        broken: dict[int, str] = {}

        def load_or_note(row: int) -> np.ndarray | None:
            try:
                return load(row)
            except InputError as error:
                broken[row] = f"{names[row]} ({error})"
                return None

        def blocks() -> Iterator[np.ndarray]:
            with ThreadPoolExecutor(cores()) as pool, progress_bar(len(names), progress) as bar:
                for start in range(0, len(names), _IMAGES_AT_ONCE):
                    rows = range(start, min(start + _IMAGES_AT_ONCE, len(names)))
                    block = list(pool.map(load_or_note, rows))
                    if not broken:  # else the rest is read only to find what else is broken
                        yield np.stack(block)
                    bar.update(len(block))

        embedding = self.encoder.describe_blocks(blocks(), self.flip)
        if broken:
            raise BrokenImages([broken[row] for row in sorted(broken)], len(names), where)
        return embedding


def _is_path(picture: object) -> bool:
    return isinstance(picture, (str, os.PathLike))


def _is_array(picture: object) -> bool:
    return not _is_path(picture) and not isinstance(picture, Image.Image)


def _is_picture(images: object) -> bool:
    """Whether this is one picture, not a sequence of them or a stack."""
    return getattr(images, "ndim", 0) in (2, 3) if _is_array(images) else True  # of two axes one that is refused later


def _numbered(kind: str, count: int) -> list[str]:
    return [f"{kind} {row}, counted from 0" for row in range(count)]


def _pixels(picture: Picture, colour: str | None, image_size: tuple[int, int] | None = None) -> np.ndarray:
    """The picture as RGB pixels uint8 [*image_size, 3], or of its own size."""
    if _is_path(picture):
        path = Path(os.path.expanduser(picture))
        if not path.is_file():
            raise InputError("it is a folder; name its files" if path.is_dir() else "there is no such file")
        return decode(FileTree(path.parent).read(path.name), image_size)
    if isinstance(picture, Image.Image):
        return from_pillow(picture, image_size)
    pixels = np.asarray(picture)
    pixels = pixels[..., ::-1] if colour == "bgr" else pixels
    return resize(pixels, image_size or pixels.shape[:2])


def _frame(picture: Picture, colour: str | None) -> np.ndarray:
    """The frame as RGB pixels uint8 [h, w, 3]."""
    if not _is_picture(picture):
        raise InputError(
            "boxes go with one frame, but images are several; give uint8 [h, w, 3], a path or a Pillow image"
        )
    if colour is None and _is_array(picture):
        raise InputError(
            "the frame is an array, which does not say the order of its channels; say colour='rgb' or 'bgr'"
        )
    try:
        return _pixels(picture, colour)
    except InputError as error:
        raise InputError(f"the frame{f' {shown(os.fspath(picture))}' if _is_path(picture) else ''}: {error}") from error


def _crops(frame: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """What the boxes show of the frame, each uint8 [h, w, 3]; see `Extractor.__call__`."""
    try:
        boxes = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"boxes are no numbers ({shown(error)}); give float [n, 4]") from error
    if not boxes.size:
        return []
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(
            f"boxes have shape {list(boxes.shape)}; give [n, 4], each (left, top, right, bottom) in pixels"
        )
    height, width = frame.shape[:2]
    inside = np.clip(np.rint(boxes), 0, [width, height, width, height])
    empty = ~(np.isfinite(boxes).all(1) & (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1]))
    if empty.any():
        rows = [f"{row} ({', '.join(f'{side:g}' for side in boxes[row])})" for row in np.flatnonzero(empty)]
        raise InputError(
            f"{len(rows):,} of {len(boxes):,} boxes show no pixel of the frame of {width} x {height} (width x height): "
            f"box {first_few(rows)}, counted from 0; give (left, top, right, bottom) in pixels, or leave these out"
        )
    return [frame[top:bottom, left:right] for left, top, right, bottom in inside.astype(np.int64)]
