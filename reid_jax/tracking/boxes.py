"""Boxes in a frame, (left, top, right, bottom) in pixels: overlap, what lies inside the frame, thinning out.

All take and return float64 [n, 4]. `image_size` is (height, width), or None where no frame is known: everything is
inside then.
"""

import numpy as np


def corners(box: np.ndarray) -> np.ndarray:
    """(left, top, width, height) [n, 4] as (left, top, right, bottom)."""
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)


def sized(box: np.ndarray) -> np.ndarray:
    """(left, top, right, bottom) [n, 4] as (left, top, width, height)."""
    return np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each box of `one` [m, 4] with each of `other` [n, 4]: float64 [m, n], 0 to 1."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    union = area(one)[:, None] + area(other)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def area(box: np.ndarray) -> np.ndarray:
    """The areas in square pixels, float64 [n]; 0 where a side is negative."""
    return np.maximum(box[:, 2:] - box[:, :2], 0).prod(axis=1)


def clip(box: np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    """The parts of the boxes that lie in the frame; a box outside of it becomes one of no area."""
    if image_size is None:
        return box
    height, width = image_size
    return np.clip(box, 0, [width, height, width, height])


def inside(box: np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    """Which part of each box's area lies in the frame, float64 [n], 0 to 1."""
    whole = area(box)
    return np.divide(area(clip(box, image_size)), whole, out=np.zeros_like(whole), where=whole > 0)


def thin_out(box: np.ndarray, score: np.ndarray, most: float) -> np.ndarray:
    """Non-maximum suppression: which boxes stay, int64 [m], best score first.

    The best is kept and all that overlap it by an IoU above `most` are dropped, then the best of the rest, and so on;
    of equal scores the box that comes first is the better.
    """
    order = np.argsort(-score, kind="stable")
    overlaps = iou(box[order], box[order]) > most
    kept = np.ones(len(order), bool)
    for row in range(len(order)):
        if kept[row]:
            kept[row + 1 :] &= ~overlaps[row, row + 1 :]
    return order[kept]


def whole_pixels(box: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The boxes rounded to whole pixels of the frame, at least one each way, wherever they lie."""
    low = np.rint(box[:, :2])
    high = np.maximum(np.rint(box[:, 2:]), low + 1)
    whole = clip(np.concatenate([low, high], axis=1), image_size)
    height, width = image_size
    low = np.minimum(whole[:, :2], [width - 1, height - 1])
    return np.concatenate([low, np.maximum(whole[:, 2:], low + 1)], axis=1)
