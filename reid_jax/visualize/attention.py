"""What a network attends to in images: its soft-attention maps, and the regions of its hard attention, as values."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from reid_jax.data.augment import normalise
from reid_jax.errors import InputError
from reid_jax.models.attention_maps import attention_maps

if TYPE_CHECKING:
    from reid_jax.data.images import Images
    from reid_jax.describe import Encoder

SMALLEST_RANGE = 0.02  # the colours of a map that is nearly flat must not blow its rounding up


@dataclasses.dataclass(frozen=True)
class Attention:
    """One image and what the network attends to in it.

    image: uint8 [h, w, 3]. soft: for each level float32 [h, w] of its own grid, in [0.5, 1). boxes: for each level
    float32 [regions, 4], their (left, top, right, bottom) in pixels of `image`; empty for a network without regions.
    centres: for each level float32 [regions, 2], their (tx, ty).
    """

    name: str
    identity: int
    camera: int
    image: np.ndarray
    soft: tuple[np.ndarray, ...]
    boxes: tuple[np.ndarray, ...]
    centres: tuple[np.ndarray, ...]


def attend(encoder: "Encoder", images: "Images", rows: Sequence[int]) -> list[Attention]:
    """Decodes the images `rows` and runs the encoder's network on them.

    Raises:
      InputError: no rows, or a row outside of the images.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows):
        raise InputError("there is no image to draw attention of; give at least 1 row")
    if rows.min() < 0 or rows.max() >= len(images):
        raise InputError(
            f"rows reach from {rows.min()} to {rows.max()}, but there are {len(images)} images, counted from 0"
        )
    shown = images.select(rows)
    maps = attention_maps(encoder.network, encoder.variables, normalise(shown.image))
    return [
        Attention(
            name=str(shown.name[i]),
            identity=int(shown.identity[i]),
            camera=int(shown.camera[i]),
            image=shown.image[i],
            soft=tuple(level[i] for level in maps.soft),
            boxes=tuple(level[i] for level in maps.boxes),
            centres=tuple(level[i] for level in maps.centres),
        )
        for i in range(len(rows))
    ]


def soft_ranges(shown: Sequence[Attention]) -> list[tuple[float, float]]:
    """For each level the least and the largest value of the maps shown: what the two ends of the colours stand for.

    All images share it, so that they compare; a range below `SMALLEST_RANGE` is widened to that.
    """
    ranges = []
    for maps in zip(*(attention.soft for attention in shown), strict=True):
        low, high = (float(limit([limit(level) for level in maps])) for limit in (np.min, np.max))
        ranges.append((low, max(high, low + SMALLEST_RANGE)))
    return ranges


def place_bars(boxes: np.ndarray, height: float, apart: float = 16.0) -> list[tuple[int, float, float, float]]:
    """For each of the boxes [r, 4] beside an image of `height`: (lane, top, bottom, centre of its number).

    The bars of a side, every other one, have lanes of their own, counted from the image, and their numbers stand
    `apart`, or as far as the image's height leaves room.
    """
    tops, bottoms = (np.clip(boxes[:, edge], 0, height - 1) for edge in (1, 3))
    text = np.clip((tops + bottoms) / 2, apart / 2, height - apart / 2)
    for side in (range(0, len(boxes), 2), range(1, len(boxes), 2)):
        _move_apart(text, sorted(side, key=lambda number: (text[number], number)), height, apart)
    return [
        (number // 2, float(tops[number]), float(bottoms[number]), float(text[number])) for number in range(len(boxes))
    ]


def _move_apart(text: np.ndarray, downwards: Sequence[int], height: float, apart: float) -> None:
    """Moves the centres `text` of the numbers of one side, from top to bottom, until none covers the next."""
    apart = min(apart, height / max(1, len(downwards)))
    for upper, lower in itertools.pairwise(downwards):
        missing = apart - (text[lower] - text[upper])
        if missing > 0:
            text[upper] = max(text[upper] - missing / 2, apart / 2)
            text[lower] = min(text[upper] + apart, height - apart / 2)
            text[upper] = text[lower] - apart
    least = apart / 2  # of three and more a later pair may have moved into an earlier one
    for number in downwards:
        text[number] = least = max(text[number], least)
        least += apart
    most = height - apart / 2
    for number in reversed(downwards):
        text[number] = most = min(text[number], most)
        most -= apart
