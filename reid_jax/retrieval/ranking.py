"""Exact ranking by counting: a match stands at 1 + the number of valid gallery items that are nearer.

The protocol is Market-1501's (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015): for
a query, gallery items of the same identity and camera are removed. Nothing is sorted but a query's own
matches, and no query x gallery matrix outlives its tile: galleries of any size are streamed.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from reid_jax.errors import InputError
from reid_jax.parallel import place
from reid_jax.progress import progress_bar, with_progress
from reid_jax.retrieval.labels import CheckedLabels, Labels, check_labels
from reid_jax.retrieval.pairs import (
    PADDING,
    Distances,
    DistanceTiles,
    EmbeddingTiles,
    Tiles,
    blocks,
    check_pairs,
    one_behind,
    round_up,
    spread,
)
from reid_jax.retrieval.top_k import top_k

# So many matches are counted in one pass over the scores.
MATCHES_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Where each query's matches stand among the valid gallery items.

    A match is a gallery item of the query's identity that is not removed; a negative is an item of another
    identity. The matches of query i are `offsets[i]:offsets[i + 1]` of the flat arrays, nearest first; the
    j-th of them (from 0) stands at rank `j + 1 + negatives_before[offsets[i] + j]` (from 1).

    Attributes:
      offsets: int64 [queries + 1], from 0 to the number of matches of all queries.
      negatives_before: int32 [matches], the negatives at least as near as the match. A negative at the same
        distance counts: the order of equal distances must not flatter.
      distance: float32 [matches], to the query: Euclidean from `rank`, where float32 rounding leaves up to about
        0.001 of the norm where it should be 0, equally for equal items; as given from `rank_distances`.
      removed: int32 [queries], the gallery items of the query's identity removed for its camera.
    """

    offsets: np.ndarray
    negatives_before: np.ndarray
    distance: np.ndarray
    removed: np.ndarray

    def __len__(self) -> int:
        """The number of queries, those without a match included."""
        return len(self.offsets) - 1

    @property
    def matches(self) -> np.ndarray:
        """int64 [queries], the number of matches of each query."""
        return np.diff(self.offsets)


def rank(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    labels: Labels,
    *,
    mesh: Mesh | None = None,
) -> Ranking:
    """Ranks every match of every query in the gallery, exactly, in bounded memory.

    Args:
      query: float [nq, d], embeddings; unit norm is usual, any norm is right.
      gallery: float [ng, d], embeddings; float32 is best, other types are converted a chunk at a time.
      labels: of the nq queries and ng gallery items.
      mesh: a mesh with the one axis 'data': blocks of queries are spread over its devices, each of which
        holds a chunk of the gallery. The result does not depend on it. By default the first local device.

    Returns:
      The ranks, from which `reid_jax.retrieval.metrics` computes everything. It needs 16 bytes a match, at most
      three times `pairs.CHUNK_BYTES` for the gallery, and a few times `pairs.BLOCK_BYTES` on each device.

    Raises:
      InputError: shapes or lengths disagree, query or gallery is empty, or an embedding is not finite.
    """
    query, gallery, labels = check_pairs(query, gallery, labels)
    matches = _Matches(labels)
    # A chunk then holds all items of an identity, but for the one that it ends in.
    identity = labels.gallery_identity[matches.order]
    tiles = EmbeddingTiles(query, gallery, identity, mesh=mesh, width=matches.width, order=matches.order)
    return _rank(tiles, labels, matches, np.arange(len(gallery)))


def rank_distances(distances: Distances, labels: Labels) -> Ranking:
    """Ranks every match of every query by given distances, under the protocol of `rank`.

    Args:
      distances: the distances of some queries to all gallery items: int [b], numbers of queries in any order,
        -> float [b, ng], any finite numbers, smaller is nearer. They are compared as float32. Each query with a
        match is asked for once, in blocks, so that nothing of the size of all pairs is held.
      labels: those of `rank`.

    Raises:
      InputError: lengths disagree, query or gallery is empty, or distances have another shape or are not finite.
    """
    labels = check_labels(labels)
    matches = _Matches(labels)
    tiles = DistanceTiles(distances, labels.gallery_identity, len(labels.query_identity), width=matches.width)
    return _rank(tiles, labels, matches, matches.order)


def nearest(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    labels: Labels,
    k: int,
    *,
    mesh: Mesh | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest valid gallery items of every query, under the removal rule of `rank`.

    Args are those of `rank`; `k` is at least 1.

    Returns:
      index: int32 [nq, k], nearest first, the lower index first at equal distances; -1 where fewer than k
        items are valid.
      distance: float32 [nq, k], Euclidean; inf where the index is -1.

    Raises:
      InputError: as `rank`, or k is below 1.
    """
    query, gallery, labels = check_pairs(query, gallery, labels)
    _check_k(k)
    tiles = EmbeddingTiles(query, gallery, labels.gallery_sight, mesh=mesh, width=k)
    return _nearest(tiles, labels, np.arange(len(query)), k)


def nearest_distances(
    distances: Distances, labels: Labels, k: int, *, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest valid gallery items by given distances, of the queries `rows` or of all.

    Args:
      distances: as for `rank_distances`; labels are those of all queries.
      rows: int [n], numbers of queries; they may repeat.

    Returns:
      index int32 [n, k] and distance float32 [n, k], as `nearest`.

    Raises:
      InputError: as `rank_distances`; k is below 1; or rows are not numbers of queries.
    """
    labels = check_labels(labels)
    _check_k(k)
    nq = len(labels.query_identity)
    rows = np.arange(nq) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
        raise InputError(f"rows have shape {list(rows.shape)} and type {rows.dtype}; give a list of query numbers")
    if rows.size and not 0 <= rows.min() <= rows.max() < nq:
        raise InputError(f"rows reach from {rows.min()} to {rows.max()}, but there are {nq} queries, counted from 0")
    tiles = DistanceTiles(distances, labels.gallery_sight, max(len(rows), 1), width=k)
    return _nearest(tiles, labels, rows.astype(np.int64), k)


def count_negatives(
    tiles: Tiles,
    query_identity: np.ndarray,
    order: np.ndarray,
    offsets: np.ndarray,
    columns: Callable[[np.ndarray], np.ndarray],
    width: int,
    progress: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Counts for chosen columns of each query the negatives at least as near: those that have another label.

    Args:
      tiles: labelled by identity; columns whose label is `pairs.PADDING` count for nobody.
      query_identity: int32 [nq].
      order: the queries with columns, best so that neighbours have like numbers of them in the same chunks.
      offsets: int64 [nq + 1]; query i has offsets[i + 1] - offsets[i] columns.
      columns: of a block of queries, int [b, width], -1 after each query's own.
      width: a multiple of `MATCHES_AT_ONCE`.

    Returns:
      distance float32 and count int32, both [offsets[-1]]; a query's columns stand in their order.
    """
    total = int(offsets[-1])
    score, distance = np.empty(total, np.float32), np.empty(total, np.float32)
    counts = np.zeros(total, np.int32)
    owned = np.diff(offsets)
    count_function, gather = _count_function(tiles.mesh), _gather_function(tiles.mesh)
    parts = blocks(order, tiles.block)
    # Most blocks have all their columns in one chunk: gathered and counted there in one go. The scores of the others
    # are gathered first; they must come from the very product that they are compared with.
    chunks = [np.unique(column[column >= 0] // tiles.columns).tolist() for column in map(columns, parts)]
    gathering = sorted((chunk, b) for b, own in enumerate(chunks) for chunk in own)
    done = {(own[0], b) for b, own in enumerate(chunks) if len(own) == 1}
    counting = [(chunk, b) for chunk in range(tiles.chunks) for b in range(len(parts)) if (chunk, b) not in done]
    bar = progress_bar(len(gathering) + len(counting), progress, "tiles")

    def flat(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a block's columns stand in the flat arrays: bool [b, width], and the places of the true ones."""
        inside = np.arange(width) < owned[block, None]
        return inside, (offsets[block, None] + np.arange(width))[inside]

    def count(b: int, tile_score: jax.Array, threshold: jax.Array, label: jax.Array) -> jax.Array:
        passes = np.zeros(tiles.mesh.size, np.int32)
        for device, part in enumerate(blocks(parts[b], tiles.rows)):
            passes[device] = -(-owned[part].max() // MATCHES_AT_ONCE)
        identity = tiles.place(query_identity[parts[b]])
        return count_function(tile_score, identity, threshold, place(tiles.mesh, passes, PartitionSpec("data")), label)

    def gather_tiles() -> Iterator:
        for chunk, b in gathering:
            block = parts[b]
            column = columns(block)
            here = column // tiles.columns == chunk
            tile_score, label = tiles.tile(chunk, block)
            index = np.where(here, column - chunk * tiles.columns, 0).astype(np.int32)
            own = gather(tile_score, tiles.place(index))
            results = [own, tiles.distance(own, block)]
            if (chunk, b) in done:
                results.append(count(b, tile_score, own, label))
            yield (block, here), results

    def count_tiles() -> Iterator:
        for chunk, b in counting:
            block = parts[b]
            tile_score, label = tiles.tile(chunk, block)
            inside, where = flat(block)
            threshold = np.full(inside.shape, np.inf, np.float32)
            threshold[inside] = score[where]
            yield block, [count(b, tile_score, tiles.place(threshold), label)]

    for (block, here), (own_score, own_distance, *own_count) in one_behind(tiles.mesh, gather_tiles()):
        inside, where = flat(block)
        mine = here[inside]
        for values, found in zip((score, distance, counts), (own_score, own_distance, *own_count), strict=False):
            values[where[mine]] = found[: len(block)][here]
        bar.update()
    for block, (found,) in one_behind(tiles.mesh, count_tiles()):
        inside, where = flat(block)
        counts[where] += found[: len(block)][inside]
        bar.update()
    bar.close()
    return distance, counts


def match_width(matches: np.ndarray) -> int:
    """The columns that the matches of any query need, of int [nq] matches: a multiple of `MATCHES_AT_ONCE`."""
    return round_up(int(matches.max()), MATCHES_AT_ONCE)


class _Matches:
    """Where in the gallery, sorted by identity, the matches of each query are.

    Attributes:
      order: int64 [ng], the gallery items, those of one identity together: identities of many items first, those
        that no query has last.
      matches: int64 [nq], their number.
      queries: int64, the queries with a match, in the order of their identities. Blocks of them have like numbers of
        matches, and their matches stand together.
      width: columns that the matches of any query need.
    """

    def __init__(self, labels: CheckedLabels):
        identities = int(max(labels.query_identity.max(), labels.gallery_identity.max())) + 1
        size = np.bincount(labels.gallery_identity, minlength=identities)
        asked = np.zeros(identities, bool)
        asked[labels.query_identity] = True
        by_size = np.argsort(np.where(asked, -size, 1), kind="stable")
        position = np.empty(identities, np.int64)
        position[by_size] = np.arange(identities)
        first = np.empty(identities, np.int64)
        first[by_size] = np.cumsum(size[by_size]) - size[by_size]
        self.order = np.argsort(position[labels.gallery_identity], kind="stable")
        self.matches = labels.matches()
        queries = np.argsort(position[labels.query_identity], kind="stable")
        self.queries = queries[self.matches[queries] > 0]
        self.width = match_width(self.matches)
        self._first, self._size = first[labels.query_identity], size[labels.query_identity]
        self._sight = labels.gallery_sight[self.order]
        self._query_sight = labels.query_sight

    def places(self, block: np.ndarray) -> np.ndarray:
        """int64 [b, width], the places in `order` of a block's matches; -1 after each query's own."""
        item = self._first[block, None] + np.arange(self._size[block].max())
        inside = item < (self._first + self._size)[block, None]
        keep = inside & (self._sight[np.where(inside, item, 0)] != self._query_sight[block, None])
        row, column = np.nonzero(keep)
        places = np.full((len(block), self.width), -1)
        places[row, np.cumsum(keep, axis=1)[row, column] - 1] = item[row, column]
        return places


def _rank(tiles: Tiles, labels: CheckedLabels, matches: _Matches, column: np.ndarray) -> Ranking:
    """Ranks in tiles in which the gallery item at place p of `matches.order` is column `column[p]`."""
    offsets = np.concatenate([[0], np.cumsum(matches.matches)])

    def columns(block: np.ndarray) -> np.ndarray:
        places = matches.places(block)
        return np.where(places >= 0, column[places], -1)

    distance, negatives = count_negatives(
        tiles, labels.query_identity, matches.queries, offsets, columns, matches.width, "ranking"
    )
    # Nearest first. The count grows with the distance, so each may be sorted by itself.
    query = np.repeat(np.arange(len(offsets) - 1), matches.matches)
    distance = distance[np.lexsort((distance, query))]
    negatives = negatives[np.lexsort((negatives, query))]
    return Ranking(offsets, negatives, distance, labels.removed().astype(np.int32))


def _nearest(tiles: Tiles, labels: CheckedLabels, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the queries `rows`, in tiles that are labelled by sight, columns in the gallery's order."""
    score = np.full((len(rows), k), -np.inf, np.float32)
    index = np.full((len(rows), k), -1, np.int32)
    distance = np.full((len(rows), k), np.inf, np.float32)
    function = _nearest_function(tiles.mesh, min(k, tiles.columns))
    work = [(chunk, part) for chunk in range(tiles.chunks) for part in blocks(np.arange(len(rows)), tiles.block)]

    def tops() -> Iterator:
        for chunk, part in with_progress(work, "nearest", "tiles"):
            tile_score, sight = tiles.tile(chunk, rows[part])
            query_sight = tiles.place(labels.query_sight[rows[part]])
            value, item = function(tile_score, query_sight, sight)
            yield (chunk, part), (value, tiles.distance(value, rows[part]), item)

    for (chunk, part), (value, new_distance, item) in one_behind(tiles.mesh, tops()):
        value, new_distance, item = (array[: len(part)] for array in (value, new_distance, item))
        item = np.where(np.isneginf(value), -1, item + chunk * tiles.columns)
        # Stable, and later chunks hold higher indices: the lower index comes first at equal scores.
        best = np.argsort(-np.concatenate([score[part], value], axis=1), axis=1, kind="stable")[:, :k]
        for kept, new in ((score, value), (distance, new_distance), (index, item)):
            kept[part] = np.take_along_axis(np.concatenate([kept[part], new], axis=1), best, axis=1)
    return index, distance


def _check_k(k: int) -> None:
    if k < 1:
        raise InputError(f"nearest: k is {k}; ask for at least 1 gallery item")


def _gather_block(score: jax.Array, index: jax.Array) -> jax.Array:
    """The scores [b, p] at columns `index` [b, p] of one device's rows."""
    return jnp.take_along_axis(score, index, axis=1)


def _count_block(score, query_identity, threshold, passes, gallery_identity):
    """The negatives of one device's queries that score at least each threshold.

    score [b, n], query_identity [b], threshold [b, p], passes [1] (of `MATCHES_AT_ONCE` thresholds each),
    gallery_identity [n] -> int32 [b, p]. What stands beyond the passes is 0.
    """

    def count(i: jax.Array, counts: jax.Array) -> jax.Array:
        near = lax.dynamic_slice_in_dim(threshold, i * MATCHES_AT_ONCE, MATCHES_AT_ONCE, axis=1)
        negative = (query_identity[:, None] != gallery_identity) & (gallery_identity != PADDING)
        # One variadic reduction reads the row once for all thresholds and writes nothing but the sums; plain
        # sums of a broadcast comparison keep [b, MATCHES_AT_ONCE, n] on the CPU and run 40 times slower.
        nearer = [((score >= near[:, j : j + 1]) & negative).astype(jnp.int32) for j in range(MATCHES_AT_ONCE)]
        sums = lax.reduce(
            nearer,
            [np.int32(0)] * MATCHES_AT_ONCE,
            lambda a, b: [x + y for x, y in zip(a, b, strict=True)],
            (1,),
        )
        return lax.dynamic_update_slice_in_dim(counts, jnp.stack(sums, axis=1), i * MATCHES_AT_ONCE, axis=1)

    return lax.fori_loop(0, passes[0], count, jnp.zeros(threshold.shape, jnp.int32))


def _nearest_block(score, query_sight, gallery_sight, *, k):
    """The k largest scores of one device's queries: float32 [b, k], and their columns, int32 [b, k]."""
    return top_k(jnp.where(query_sight[:, None] == gallery_sight, -jnp.inf, score), k)


@functools.cache
def _gather_function(mesh: Mesh):
    data = PartitionSpec("data")
    return spread(_gather_block, mesh, (data, data))


@functools.cache
def _count_function(mesh: Mesh):
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    return spread(_count_block, mesh, (data, data, data, data, everywhere))


@functools.cache
def _nearest_function(mesh: Mesh, k: int):
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    return spread(functools.partial(_nearest_block, k=k), mesh, (data, data, everywhere))
