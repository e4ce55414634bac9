"""Exact ranking by counting: the rank of a match is 1 + the number of valid gallery items before it.

`protocol` says what is valid and what a match is. Nothing is sorted but a query's own matches, and no query x gallery
matrix outlives its tile: galleries of any size are streamed.
"""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax.retrieval.counting import Targets, count_negatives, match_width
from reid_jax.retrieval.pairs import Distances, DistanceTiles, EmbeddingTiles, Tiles, check_pairs
from reid_jax.retrieval.protocol import CheckedLabels, Labels, check_labels


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The ranks of each query's matches among its valid gallery items.

    The matches of query i are `offsets[i]:offsets[i + 1]` of the flat arrays, nearest first; the j-th of them (from 0)
    has the rank `j + 1 + negatives_before[offsets[i] + j]` (from 1).

    Attributes:
      offsets: int64 [queries + 1], from 0 to the number of matches of all queries.
      negatives_before: int32 [matches], the negatives at least as near as the match. A negative at the same
        distance counts: the order of equal distances must not flatter.
      distance: float32 [matches], of the match to the query. `rank` gives Euclidean distances; rounding may leave
        0.001 of the norm in place of 0, the same for identical items. `rank_distances` keeps those it was given.
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
      query: float [nq, d], embeddings; unit norm is usual. Of any norm ranks are right but where items lie a
        thousandth of their norms apart, or less: take a number that all share away first.
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
    # So sorted, an identity's items lie in one chunk, unless a chunk ends in their midst.
    identity = labels.gallery_identity[matches.order]
    tiles = EmbeddingTiles(query, gallery, identity, mesh=mesh, width=matches.width, order=matches.order)
    return _rank(tiles, labels, matches, np.arange(len(gallery)))


def rank_distances(distances: Distances, labels: Labels) -> Ranking:
    """Ranks every match of every query by given distances, under the protocol of `rank`.

    Args:
      distances: the distances of some queries to all gallery items: int [b], numbers of queries in any order,
        -> float [b, ng], any finite numbers, smaller is nearer. They are compared as float32. The function is called
        with blocks of queries, each query with a match once, so that nothing of the size of all pairs is held.
      labels: those of `rank`.

    Raises:
      InputError: lengths disagree, query or gallery is empty, or distances have another shape or are not finite.
    """
    labels = check_labels(labels)
    matches = _Matches(labels)
    tiles = DistanceTiles(distances, labels.gallery_identity, len(labels.query_identity), width=matches.width)
    return _rank(tiles, labels, matches, matches.order)


class _Matches:
    """Where in the gallery, sorted by identity, the matches of each query are.

    Queries in the order of their identities lie beside their matches, so that a block of queries has its matches
    together, mostly in one chunk of the gallery. Identities with many items come first: the queries of a block then
    have about equally many matches. With the identities A (5 items), B (3), C (3), and X, which no query has:

        order     A A A A A  B B B  C C C  X X X X
        queries   a a a      b      c c

    Attributes:
      order: int64 [ng], gallery items so sorted.
      matches: int64 [nq], the number of matches of each query.
      queries: int64, the queries with a match, so sorted.
      width: columns that the matches of any query need.
    """

    def __init__(self, labels: CheckedLabels):
        identities = int(max(labels.query_identity.max(), labels.gallery_identity.max())) + 1
        size = np.bincount(labels.gallery_identity, minlength=identities)
        has_query = np.zeros(identities, bool)
        has_query[labels.query_identity] = True
        by_size = np.argsort(np.where(has_query, -size, 1), kind="stable")
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
        self._identity_camera = labels.gallery_identity_camera[self.order]
        self._query_identity_camera = labels.query_identity_camera

    def positions(self, block: np.ndarray) -> np.ndarray:
        """int64 [b, width], the positions in `order` of a block's matches; -1 after each query's own."""
        item = self._first[block, None] + np.arange(self._size[block].max())
        same_identity = item < (self._first + self._size)[block, None]
        identity_camera = self._identity_camera[np.where(same_identity, item, 0)]
        match = same_identity & (identity_camera != self._query_identity_camera[block, None])
        row, column = np.nonzero(match)
        positions = np.full((len(block), self.width), -1)
        positions[row, np.cumsum(match, axis=1)[row, column] - 1] = item[row, column]
        return positions


def _rank(tiles: Tiles, labels: CheckedLabels, matches: _Matches, column: np.ndarray) -> Ranking:
    """Ranks in tiles in which the gallery item `matches.order[p]` is column `column[p]`."""
    offsets = np.concatenate([[0], np.cumsum(matches.matches)])

    def columns(block: np.ndarray) -> np.ndarray:
        positions = matches.positions(block)
        return np.where(positions >= 0, column[positions], -1)

    targets = Targets(matches.queries, offsets, columns, matches.width)
    distance, negatives = count_negatives(tiles, labels.query_identity, targets, "ranking")
    # Nearest first. The count grows with the distance, so each may be sorted by itself.
    query = np.repeat(np.arange(len(offsets) - 1), matches.matches)
    distance = distance[np.lexsort((distance, query))]
    negatives = negatives[np.lexsort((negatives, query))]
    return Ranking(offsets, negatives, distance, labels.removed().astype(np.int32))
