"""Averages of descriptors that are descriptors again: frames of a tracklet, flipped images, several queries."""

from collections.abc import Sequence

import numpy as np

from reid_jax.errors import InputError


def renormalise(embedding: np.ndarray, streams: Sequence[int]) -> np.ndarray:
    """Scales each stream of sums or means of descriptors [n, d] to norm 1/sqrt(streams), so each row to unit norm.

    `streams` are the widths of the network's vectors, which add up to d; a stream that is zero stays zero. Returns
    float32 [n, d]; raises InputError where the widths do not add up.
    """
    embedding = np.asarray(embedding, np.float32)
    if embedding.ndim != 2 or min(streams, default=0) < 1 or sum(streams) != embedding.shape[1]:
        raise InputError(
            f"descriptors have shape {list(embedding.shape)}, but streams of {tuple(streams)} were named; give [n, d] "
            "and widths that add up to d"
        )
    scaled = np.empty_like(embedding)
    start = 0
    for width in streams:
        stream = embedding[:, start : start + width]
        norm = np.linalg.norm(stream, axis=1, keepdims=True)
        scaled[:, start : start + width] = stream / np.maximum(norm, 1e-12) / np.float32(len(streams) ** 0.5)
        start += width
    return scaled


def pool(embedding: np.ndarray, group: np.ndarray, streams: Sequence[int]) -> np.ndarray:
    """Averages the descriptors of each group and renormalises: float32 [n, d], int [n] in [0, g) -> float32 [g, d].

    The mean over unit descriptors is what video re-identification calls average pooling. Raises InputError where the
    lengths differ or a group has no member.
    """
    group = np.asarray(group)
    if group.shape != (len(embedding),) or not len(group) or group.min() < 0 or not np.bincount(group).all():
        raise InputError(
            f"groups of shape {list(group.shape)} were given for {len(embedding)} descriptors; give one number for "
            "each, counted from 0, none left out"
        )
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(int(group.max()) + 1))
    return renormalise(np.add.reduceat(np.asarray(embedding, np.float32)[order], starts, axis=0), streams)
