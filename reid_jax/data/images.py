"""Labelled images, as evaluation, training and pictures take them, wherever their pixels are.

`Images` is the protocol. `Split` holds its pixels in memory, `split.StoredSplit` decodes them from records on disk, and
`low_resolution.LowResolution` scales those of another one down. This file reads no data set, so that what only
describes or ranks images needs none of the libraries that data sets are read with.
"""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from reid_jax.progress import progress_bar


class Images(Protocol):
    """n images of one size and what is known about each: labels in memory, pixels where `select` finds them.

    identity: int32 [n], the data set's own numbers (0 is a distractor in Market-1501's gallery).
    camera: int32 [n], -1 where unknown.
    tracklet: int32 [n], frames of one video snippet share a number; -1 for a still image.
    origin: int32 [n], which of the joined data sets it is from, counted from 0.
    name: str [n], the path relative to the data set's folder, '/' separated.
    """

    @property
    def identity(self) -> np.ndarray: ...
    @property
    def camera(self) -> np.ndarray: ...
    @property
    def tracklet(self) -> np.ndarray: ...
    @property
    def origin(self) -> np.ndarray: ...
    @property
    def name(self) -> np.ndarray: ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of every image, in pixels."""

    def __len__(self) -> int:
        """The number of images, n."""

    def select(self, index: np.ndarray) -> "Split":
        """The rows that `index` (int [m], or bool [n]) names, in its order; InputError for what cannot be decoded."""

    def blocks(self, size: int, progress: str = "") -> "Iterator[Split]":
        """Consecutive rows, `size` at a time, the last block shorter; `progress` names a bar on stderr."""


@dataclasses.dataclass(frozen=True)
class Split:
    """`Images` in memory: image is uint8 [n, height, width, 3], RGB; all arrays share their first axis [n]."""

    image: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    tracklet: np.ndarray
    origin: np.ndarray
    name: np.ndarray

    @property
    def image_size(self) -> tuple[int, int]:
        """See `Images.image_size`."""
        return self.image.shape[1:3]

    def __len__(self) -> int:
        return len(self.identity)

    def select(self, index: np.ndarray) -> "Split":
        """See `Images.select`."""
        return Split(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def subset(self, index: np.ndarray) -> "Split":
        """The same; of a `split.StoredSplit` the pixels stay on disk."""
        return self.select(index)

    def blocks(self, size: int, progress: str = "") -> Iterator["Split"]:
        """See `Images.blocks`."""
        with progress_bar(len(self), progress) as bar:
            for start in range(0, len(self), size):
                block = self.select(np.arange(start, min(start + size, len(self))))
                yield block
                bar.update(len(block))
