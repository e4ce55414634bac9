"""Items of a split: a still image is one, and so are all frames of one tracklet."""

import numpy as np


def items_of(tracklet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the items of rows, in the order of their first rows.

    `tracklet` int [n], frames of one item share a number >= 0, -1 for a still image -> (each item's first row
    int64 [items], the item of every row int64 [n]).
    """
    key = np.where(tracklet >= 0, tracklet, -1 - np.arange(len(tracklet)))
    _, first, item = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[item]
