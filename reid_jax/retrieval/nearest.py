"""The k nearest valid gallery items of each query, under the same-camera rule of `protocol`."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from reid_jax.errors import InputError
from reid_jax.progress import with_progress
from reid_jax.retrieval.pairs import (
    Distances,
    DistanceTiles,
    EmbeddingTiles,
    Tiles,
    blocks,
    check_pairs,
    one_behind,
    spread,
)
from reid_jax.retrieval.protocol import CheckedLabels, Labels, check_labels
from reid_jax.retrieval.top_k import top_k


def nearest(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    labels: Labels,
    k: int,
    *,
    mesh: Mesh | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest valid gallery items of every query, under the same-camera rule.

    Args are those of `ranking.rank`; `k` is at least 1.

    Returns:
      index: int32 [nq, k], nearest first, the lower index first at equal distances; -1 where fewer than k
        items are valid.
      distance: float32 [nq, k], Euclidean; inf where the index is -1.

    Raises:
      InputError: as `ranking.rank`, or k is below 1.
    """
    query, gallery, labels = check_pairs(query, gallery, labels)
    _check_k(k)
    tiles = EmbeddingTiles(query, gallery, labels.gallery_identity_camera, mesh=mesh, width=k)
    return _nearest(tiles, labels, np.arange(len(query)), k)


def nearest_distances(
    distances: Distances, labels: Labels, k: int, *, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest valid gallery items by given distances, of the queries `rows` or of all.

    Args:
      distances: as for `ranking.rank_distances`; labels are those of all queries.
      rows: int [n], numbers of queries; they may repeat.

    Returns:
      index int32 [n, k] and distance float32 [n, k], as `nearest`.

    Raises:
      InputError: as `ranking.rank_distances`; k is below 1; or rows are not numbers of queries.
    """
    labels = check_labels(labels)
    _check_k(k)
    nq = len(labels.query_identity)
    rows = np.arange(nq) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
        raise InputError(f"rows have shape {list(rows.shape)} and type {rows.dtype}; give a list of query numbers")
    if rows.size and not 0 <= rows.min() <= rows.max() < nq:
        raise InputError(f"rows reach from {rows.min()} to {rows.max()}, but there are {nq} queries, counted from 0")
    tiles = DistanceTiles(distances, labels.gallery_identity_camera, max(len(rows), 1), width=k)
    return _nearest(tiles, labels, rows.astype(np.int64), k)


def _nearest(tiles: Tiles, labels: CheckedLabels, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the queries `rows`; tiles are labelled by identity and camera, in the gallery's order."""
    score = np.full((len(rows), k), -np.inf, np.float32)
    index = np.full((len(rows), k), -1, np.int32)
    distance = np.full((len(rows), k), np.inf, np.float32)
    function = _nearest_function(tiles.mesh, min(k, tiles.columns))
    visits = [(chunk, block) for chunk in range(tiles.chunks) for block in blocks(np.arange(len(rows)), tiles.block)]

    def tops() -> Iterator:
        for chunk, block in with_progress(visits, "nearest", "tiles"):
            tile_score, gallery_identity_camera = tiles.tile(chunk, rows[block])
            query_identity_camera = tiles.place(labels.query_identity_camera[rows[block]])
            value, item = function(tile_score, query_identity_camera, gallery_identity_camera)
            yield (chunk, block), (value, tiles.distance(value, rows[block]), item)

    for (chunk, block), (value, new_distance, item) in one_behind(tiles.mesh, tops()):
        value, new_distance, item = (array[: len(block)] for array in (value, new_distance, item))
        item = np.where(np.isneginf(value), -1, item + chunk * tiles.columns)
        # Stable, and later chunks hold higher indices: the lower index comes first at equal scores.
        best = np.argsort(-np.concatenate([score[block], value], axis=1), axis=1, kind="stable")[:, :k]
        for kept, new in ((score, value), (distance, new_distance), (index, item)):
            kept[block] = np.take_along_axis(np.concatenate([kept[block], new], axis=1), best, axis=1)
    return index, distance


def _check_k(k: int) -> None:
    if k < 1:
        raise InputError(f"nearest: k is {k}; give at least 1 gallery item")


def _nearest_block(score, query_identity_camera, gallery_identity_camera, *, k):
    """The k largest scores of one device's queries: float32 [b, k], and their columns, int32 [b, k]."""
    removed = query_identity_camera[:, None] == gallery_identity_camera
    return top_k(jnp.where(removed, -jnp.inf, score), k)


@functools.cache
def _nearest_function(mesh: Mesh, k: int):
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    return spread(functools.partial(_nearest_block, k=k), mesh, (data, data, everywhere))
