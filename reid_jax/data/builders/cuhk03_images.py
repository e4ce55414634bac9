"""The images of CUHK03, whichever way they are stored, and who is on each by its name.

A name such as `1_001_1_01.png` gives camera pair, person of that pair, view and image. Identities are numbered 1 to
1,467 through the pairs in order, as the new protocol's files do. Each pair shows its own people from two views, so
cameras are numbered 2 (pair - 1) + view, 1 to 10: the two views of a person are different cameras, and the same-camera
rule removes what the same view shows of the same person. Which of the six physical cameras make a pair was not
published.
"""

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from reid_jax.data.builders.files import Entry, FileTree
from reid_jax.errors import InputError, shown

PEOPLE = (843, 440, 77, 58, 49)  # of each camera pair
IMAGE_FOLDERS = {"detected": "images_detected", "labelled": "images_labeled"}
SPELT = {"detected": "detected", "labelled": "labeled"}  # as files, folders and variables spell it
RELEASE_ADVICE = "download cuhk03_release.zip from the set's authors and unpack it"

_MOST_CELLS = 10_000  # of an array: the largest camera pair has 8,430 images
_MOST_NUMBERS = 3 * 2**20  # of an image: a million pixels, of which the released ones have a few ten thousand
_NAME_PATTERN = re.compile(r"(?P<pair>\d)_(?P<person>\d{3})_(?P<view>[12])_(?P<image>\d{2})\.png")


def parse_name(name: str) -> tuple[int, int] | None:
    """(identity, camera) of a file name such as '1_001_1_01.png'; None where it does not match."""
    match = _NAME_PATTERN.fullmatch(name)
    if match is None:
        return None
    pair, person = int(match["pair"]), int(match["person"])
    if not (1 <= pair <= len(PEOPLE) and 1 <= person <= PEOPLE[pair - 1]):
        return None
    return identity_of(pair, person), camera_of(pair, int(match["view"]))


def camera_of(pair: int, view: int) -> int:
    """The number, 1 to 10, of a pair's view."""
    return 2 * (pair - 1) + view


def identity_of(pair: int, person: int) -> int:
    """The number through all pairs, from 1, of a pair's person."""
    return sum(PEOPLE[: pair - 1]) + person


class ExtractedImages:
    """Images that torchreid extracted into a folder."""

    def __init__(self, tree: FileTree, folder: str):
        """`folder` is relative to `tree`."""
        self.location, self._tree, self._folder = tree.location(folder), tree, folder
        self.left_out: dict[str, str] = {}

    def entries(self) -> list[Entry]:
        """Every image, sorted by name."""
        images, self.left_out = self._tree.images(self._folder, deep=False)
        return images

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """See `Source.reader`."""
        return self._tree.reader()


class MatImages:
    """Images inside cuhk-03.mat, an HDF5 file of MATLAB 7.3, read when asked for and handed over as PNG.

    The file's variable 'detected' or 'labeled' is a cell array of five pairs; each of these a cell array of people x
    10 images, 1 to 5 of the first view; each image uint8 [height, width, 3], or empty. HDF5 holds each array with its
    axes reversed, and a cell as a reference to another array.
    """

    def __init__(self, tree: FileTree, name: str, images: str):
        """`name` is the file's, relative to `tree`; `images` as in `Options`."""
        self.location, self.left_out = tree.location(name), {}
        self._tree, self._name, self._variable = tree, name, SPELT[images]

    def entries(self) -> list[Entry]:
        """Every image that is not empty, sorted by name."""
        stamp = self._tree.entry(self._name).stamp
        entries = []
        with self._open() as (content, pairs):
            for pair, people in enumerate(pairs, 1):
                for image, person in np.ndindex(*people.shape):
                    name = f"{pair}_{person + 1:03d}_{1 + image // 5}_{image + 1:02d}.png"
                    with self._reading(f"image {name}"):
                        stored = self._array(content, people[image, person], _MOST_NUMBERS)
                        if stored.ndim < 3 or stored.size == 0:
                            continue  # an empty cell, which is stored as its lengths
                        if stored.dtype != np.uint8 or stored.ndim != 3 or len(stored) != 3:
                            raise self._wrong(f"holds {stored.dtype} {stored.shape} where images of uint8 should be")
                        entries.append(Entry(f"{self._name}/{self._variable}/{name}", stored.size, stamp))
        return sorted(entries, key=lambda entry: entry.name)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """See `Source.reader`."""
        with self._open() as (content, pairs):

            def read(name: str) -> bytes:
                match = _NAME_PATTERN.fullmatch(name.rpartition("/")[2])
                with self._reading(f"image {match[0]}"):
                    people = pairs[int(match["pair"]) - 1]
                    stored = self._array(
                        content, people[int(match["image"]) - 1, int(match["person"]) - 1], _MOST_NUMBERS
                    )
                    pixels = np.ascontiguousarray(stored[()].T)  # [3, width, height] as HDF5 holds it
                buffer = io.BytesIO()
                # Level 1: records are written once, and larger ones read as fast.
                Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
                return buffer.getvalue()

            yield read

    def test_people(self, split: int) -> set[int]:
        """The identities that a classic split, counted from 0, tests."""
        what = f"test set {split + 1} of 20"
        with self._open() as (content, _), self._reading(what):
            sets = self._array(content, "testsets")[()].ravel()
            listed = self._array(content, sets[split])[()]
            if listed.ndim != 2 or len(listed) != 2:
                raise self._wrong(f"has a test set of the shape {listed.shape}, not pair and person")
            people = {parse_name(f"{pair}_{person:03d}_1_01.png") for pair, person in listed.T.astype(int).tolist()}
            if None in people:
                raise self._wrong(f"has people in {what} that no camera pair shows")
            return {identity for identity, _ in people}

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, list[np.ndarray]]]:
        """The file, and the references to images of each pair, [10, people]."""
        try:
            import h5py
        except ImportError as error:
            raise InputError(
                f"{self.location} can be read only with h5py; pip install 'reid_jax[cuhk03]', or extract the images "
                f"with torchreid into {', '.join(IMAGE_FOLDERS.values())}"
            ) from error
        try:
            content = h5py.File(self.location, "r")
        except OSError as error:
            raise self._wrong(f"is no HDF5 file ({shown(error)})") from error
        with content:
            with self._reading(f"images {self._variable!r} in cells"):
                cells = self._array(content, self._variable, len(PEOPLE))[()].ravel()
                pairs = [self._array(content, pair)[()] for pair in cells]
                if not all(pair.ndim == 2 and len(pair) == 10 and pair.dtype == object for pair in pairs):
                    raise self._wrong(f"has no cells of people with 10 images each in {self._variable!r}")
            yield content, pairs

    def _array(self, content: Any, key: Any, most: int = _MOST_CELLS) -> Any:
        """The array of a name or a reference, of at most `most` elements, that lies whole in this file."""
        import h5py

        if isinstance(key, str) and not isinstance(content.get(key, getlink=True), h5py.HardLink):
            raise KeyError(f"no {key!r} in the file itself")
        stored = content[key]
        plan = stored.id.get_create_plist()
        if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
            raise ValueError("its data lie in another file")
        if max(stored.size, math.prod(stored.chunks or ())) > most:
            raise ValueError(f"it claims the shape {stored.shape}")
        return stored

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Whatever goes wrong within means that the file has no `what`."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # h5py raises many kinds for a damaged file
            raise self._wrong(f"has no {what} that can be read ({shown(error)})") from error

    def _wrong(self, what: str) -> InputError:
        return InputError(f"{self.location} {what}, so it is not the released cuhk-03.mat; {RELEASE_ADVICE} again")
