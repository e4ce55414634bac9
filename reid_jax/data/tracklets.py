"""The items of a split, which are what is ranked: a still image is one, and the frames of a tracklet are one."""

import numpy as np


def items_of(tracklet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the items of a split, in the order of their first rows.

    `tracklet` int [n] is -1 for a still image, and a number from 0 that all frames of a tracklet share. Returns (each
    item's first row int64 [items], the item of every row int64 [n]): tracklets [5, -1, 5] give ([0, 1], [0, 1, 0]).
    """
    key = np.where(tracklet >= 0, tracklet, -1 - np.arange(len(tracklet)))
    _, first, item = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[item]
