"""For chosen gallery items of each query, the negatives at least as near: from these counts follow all ranks.

A match at position j (from 0) among its query's matches has the rank 1 + j + negatives at least as near. So nothing is
sorted; each tile of scores is compared with the scores of the matches, the nearer the higher. A match's own score must
equal the one in the tile bit for bit, so it is first read out of the tile ("gathered"). A column is a gallery item's
place in the tiles; m marks the columns to count for:

              chunk 0   chunk 1   chunk 2
    block 0   m m . .   . . . .   . . . .    all in chunk 0: gathered and counted there in one visit, then counted in
                                             chunks 1 and 2
    block 1   . . . m   m . . .   . . . .    in two chunks: gathered in 0 and 1, then counted in 0, 1 and 2

Whoever calls orders gallery and queries by identity, so that nearly every block is like block 0.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from reid_jax.parallel import place
from reid_jax.progress import progress_bar
from reid_jax.retrieval.pairs import PADDING, Tiles, blocks, one_behind, round_up, spread

# So many columns of a query are counted for in one pass over its scores.
MATCHES_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Targets:
    """The columns of each query that negatives are counted for.

    Attributes:
      queries: int64, those with columns. Counting is fastest where the queries of a block, neighbours in this order,
        have their columns in one chunk and about equally many of them: a block takes as many passes as the query with
        most columns needs.
      offsets: int64 [nq + 1]; query i has offsets[i + 1] - offsets[i] columns, and results lie there in flat arrays.
      columns: a function from a block of queries to their columns, int [b, width], each row filled up with -1.
      width: a multiple of `MATCHES_AT_ONCE`.
    """

    queries: np.ndarray
    offsets: np.ndarray
    columns: Callable[[np.ndarray], np.ndarray]
    width: int

    @functools.cached_property
    def count(self) -> np.ndarray:
        """int64 [nq], the number of columns of each query."""
        return np.diff(self.offsets)

    def used(self, block: np.ndarray) -> np.ndarray:
        """bool [b, width], which of `columns(block)` are columns rather than -1."""
        return np.arange(self.width) < self.count[block, None]

    def flat(self, block: np.ndarray) -> np.ndarray:
        """int64, the rows of the flat arrays where the used columns of a block lie, in their order."""
        return (self.offsets[block, None] + np.arange(self.width))[self.used(block)]


@dataclasses.dataclass(frozen=True)
class _Visits:
    """The tiles to visit, each (chunk, number of the block): see the drawing above."""

    gather: list[tuple[int, int]]
    gather_and_count: set[tuple[int, int]]  # those of `gather` that count as well
    count: list[tuple[int, int]]


def count_negatives(
    tiles: Tiles, query_identity: np.ndarray, targets: Targets, progress: str
) -> tuple[np.ndarray, np.ndarray]:
    """Counts for each target the negatives at least as near: columns of another identity, padding excepted.

    Args:
      tiles: labelled by identity; columns whose label is `pairs.PADDING` are no negatives.
      query_identity: int32 [nq].
      targets: the columns to count for.
      progress: names a bar on stderr.

    Returns:
      distance float32 and count int32, both [offsets[-1]]; a query's columns lie in their order.
    """
    total = int(targets.offsets[-1])
    score, distance = np.empty(total, np.float32), np.empty(total, np.float32)
    counts = np.zeros(total, np.int32)
    query_blocks = blocks(targets.queries, tiles.block)
    visits = _plan_visits(tiles, query_blocks, targets)
    with progress_bar(len(visits.gather) + len(visits.count), progress, "tiles") as bar:
        gathered = _gather_tiles(tiles, query_blocks, query_identity, targets, visits)
        for (block, in_chunk), (tile_score, tile_distance, *tile_count) in one_behind(tiles.mesh, gathered):
            rows = targets.flat(block)[in_chunk[targets.used(block)]]
            score[rows] = tile_score[: len(block)][in_chunk]
            distance[rows] = tile_distance[: len(block)][in_chunk]
            for values in tile_count:
                counts[rows] = values[: len(block)][in_chunk]
            bar.update()
        counted = _count_tiles(tiles, query_blocks, query_identity, targets, visits, score)
        for block, (tile_count,) in one_behind(tiles.mesh, counted):
            counts[targets.flat(block)] += tile_count[: len(block)][targets.used(block)]
            bar.update()
    return distance, counts


def match_width(matches: np.ndarray) -> int:
    """The columns that the matches of any query need, of int [nq] matches: a multiple of `MATCHES_AT_ONCE`."""
    return round_up(int(matches.max()), MATCHES_AT_ONCE)


def _plan_visits(tiles: Tiles, query_blocks: list[np.ndarray], targets: Targets) -> _Visits:
    chunks_of = []
    for block in query_blocks:
        column = targets.columns(block)
        chunks_of.append(np.unique(column[column >= 0] // tiles.columns).tolist())
    gather = sorted((chunk, i) for i, chunks in enumerate(chunks_of) for chunk in chunks)
    gather_and_count = {(chunks[0], i) for i, chunks in enumerate(chunks_of) if len(chunks) == 1}
    every_tile = [(chunk, i) for chunk in range(tiles.chunks) for i in range(len(query_blocks))]
    return _Visits(gather, gather_and_count, [visit for visit in every_tile if visit not in gather_and_count])


def _gather_tiles(
    tiles: Tiles, query_blocks: list[np.ndarray], query_identity: np.ndarray, targets: Targets, visits: _Visits
) -> Iterator:
    """((block, bool [b, width] of its columns in the chunk), [their scores, distances and, where counted, counts])."""
    gather = _gather_function(tiles.mesh)
    for chunk, i in visits.gather:
        block = query_blocks[i]
        column = targets.columns(block)
        in_chunk = column // tiles.columns == chunk
        tile_score, gallery_identity = tiles.tile(chunk, block)
        index = np.where(in_chunk, column - chunk * tiles.columns, 0).astype(np.int32)
        score = gather(tile_score, tiles.place(index))
        results = [score, tiles.distance(score, block)]
        if (chunk, i) in visits.gather_and_count:
            results.append(_dispatch_count(tiles, block, query_identity, targets, tile_score, score, gallery_identity))
        yield (block, in_chunk), results


def _count_tiles(
    tiles: Tiles,
    query_blocks: list[np.ndarray],
    query_identity: np.ndarray,
    targets: Targets,
    visits: _Visits,
    score: np.ndarray,
) -> Iterator:
    """(block, [counts of its columns in one chunk]), from the gathered scores, float32 [offsets[-1]]."""
    for chunk, i in visits.count:
        block = query_blocks[i]
        tile_score, gallery_identity = tiles.tile(chunk, block)
        threshold = np.full((len(block), targets.width), np.inf, np.float32)
        threshold[targets.used(block)] = score[targets.flat(block)]
        threshold = tiles.place(threshold)
        yield block, [_dispatch_count(tiles, block, query_identity, targets, tile_score, threshold, gallery_identity)]


def _dispatch_count(
    tiles: Tiles,
    block: np.ndarray,
    query_identity: np.ndarray,
    targets: Targets,
    tile_score: jax.Array,
    threshold: jax.Array,
    gallery_identity: jax.Array,
) -> jax.Array:
    """Counts on the devices, each in as many passes as its own queries need."""
    passes = np.zeros(tiles.mesh.size, np.int32)
    for device, rows in enumerate(blocks(block, tiles.rows)):
        passes[device] = -(-targets.count[rows].max() // MATCHES_AT_ONCE)
    passes = place(tiles.mesh, passes, PartitionSpec("data"))
    identity = tiles.place(query_identity[block])
    return _count_function(tiles.mesh)(tile_score, identity, threshold, passes, gallery_identity)


def _gather_block(score: jax.Array, index: jax.Array) -> jax.Array:
    """The scores [b, p] at columns `index` [b, p] of one device's rows."""
    return jnp.take_along_axis(score, index, axis=1)


def _count_block(score, query_identity, threshold, passes, gallery_identity):
    """The negatives of one device's queries that score at least each threshold.

    score [b, n], query_identity [b], threshold [b, p], passes [1] (of `MATCHES_AT_ONCE` thresholds each),
    gallery_identity [n] -> int32 [b, p]. What lies beyond the passes is 0.
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


@functools.cache
def _gather_function(mesh: Mesh):
    data = PartitionSpec("data")
    return spread(_gather_block, mesh, (data, data))


@functools.cache
def _count_function(mesh: Mesh):
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    return spread(_count_block, mesh, (data, data, data, data, everywhere))
