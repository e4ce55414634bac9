"""All query-gallery pairs in bounded memory: tiles of a block of queries x a chunk of the gallery, on the devices.

                       gallery columns
                 chunk 0          chunk 1
               +----------------+----------------+
    block 0    | rows on device 0                |
               | rows on device 1                |
               +----------------+----------------+
    block 1    | rows on device 0                |
               | rows on device 1                |
               +----------------+----------------+

The devices hold one chunk whole and one block of queries split among them, and compute the scores of that tile:
score(q, g) = q.g - |g|^2 / 2, the larger the nearer, for |q - g|^2 = |q|^2 - 2 score(q, g); or score = -distance where
distances of any other kind are given. Ranking, the k nearest, verification and single-gallery-shot read tiles. Equal
pairs have bit-equal scores in every tile, and neither blocks nor chunks nor the number of devices changes a bit on a
CPU.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reid_jax.errors import InputError
from reid_jax.parallel import one_device, place, replicate
from reid_jax.retrieval.protocol import CheckedLabels, Labels, check_labels

# Distances of some queries to every gallery item, of any kind, smaller is nearer: int [b], query numbers -> [b, ng].
Distances = Callable[[np.ndarray], np.ndarray]

# One tile takes about this much on each device. It must not depend on the number of devices: the same block shape
# runs the same kernels and gives the same bits.
BLOCK_BYTES = 64 * 2**20
# On a CPU less is better, which stays in the cache and for which the system need not find new memory each time; but not
# so few queries that reading the gallery for them costs more than their products.
_CACHE_BYTES = 16 * 2**20
_FEW_ROWS = 192
# A gallery whose embeddings take more is streamed: cut into equal chunks that take at most this. Two are in the
# host's memory while one is prepared; where the host is the device, there is a third.
CHUNK_BYTES = 256 * 2**20
# Chunks and blocks are padded to multiples of these. A matrix product may add up the ragged edge of its output in
# another order than the rest; behind padding, equal embeddings get bit-equal values everywhere.
GALLERY_MULTIPLE = 128
QUERY_MULTIPLE = 16
# Rows looked at or copied at once: they stay in a processor's cache.
_ROWS_AT_ONCE = 256
# The label of padding, which no checked identity has.
PADDING = -1


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Checked embeddings, finite: any real type [n, d], and their squared norms, float32 [n]."""

    vector: np.ndarray
    squared_norm: np.ndarray

    def __len__(self) -> int:
        return len(self.vector)


def check_pairs(query, gallery, labels: Labels) -> tuple[Embeddings, Embeddings, CheckedLabels]:
    """Checks embeddings and labels; nothing of the size of the gallery is made.

    Raises InputError where shapes or lengths disagree, query or gallery is empty, or an embedding is not finite.
    """
    query, gallery = check_embeddings("query", query), check_embeddings("gallery", gallery)
    if query.vector.shape[1] != gallery.vector.shape[1]:
        raise InputError(
            f"query embeddings have {query.vector.shape[1]} dimensions, gallery embeddings {gallery.vector.shape[1]}; "
            "embed both with one model"
        )
    return query, gallery, check_labels(labels, len(query), len(gallery))


def check_embeddings(name: str, embedding: np.ndarray | jax.Array) -> Embeddings:
    """Checks the embeddings called `name`: InputError where they are not [n, d], n and d from 1, and finite."""
    embedding = np.asarray(embedding)
    if embedding.ndim != 2:
        raise InputError(f"{name} embeddings have shape {list(embedding.shape)}; give [items, dimensions]")
    if 0 in embedding.shape:
        raise InputError(f"{name} embeddings have shape {list(embedding.shape)}, nothing to rank; is {name} empty?")
    squared_norm = np.empty(len(embedding), np.float32)
    for rows in _slices(len(embedding)):
        vector = _float32(f"{name} embeddings", embedding[rows])
        squared_norm[rows] = np.einsum("nd,nd->n", vector, vector)
    bad = np.flatnonzero(~np.isfinite(squared_norm))
    if len(bad):
        raise InputError(
            f"{name} embedding {bad[0]} (of {len(bad)} such) is not finite, or its squared norm "
            "is beyond float32; look at that image and at the weights"
        )
    return Embeddings(embedding, squared_norm)


class EmbeddingTiles:
    """Tiles of scores of embedded queries and gallery items.

    Column j of all chunks together is gallery item `order[j]`; chunk c holds the columns c * columns to
    (c + 1) * columns - 1. The last chunk and the last block are filled up with padding.

    Attributes:
      mesh: the devices; each takes its own rows of a block and all columns of a chunk.
      chunks: their number. `columns`: of one chunk, padding included.
      rows: queries of a block on one device, padding included. `block`: on all devices together.
    """

    def __init__(
        self,
        query: Embeddings,
        gallery: Embeddings,
        label: np.ndarray,
        *,
        mesh: Mesh | None,
        width: int,
        order: np.ndarray | None = None,
    ):
        """Cuts blocks and chunks.

        Args:
          query, gallery: the embeddings.
          label: int32 [columns], the label of each column, which `tile` returns with the scores.
          mesh: a mesh with the one axis 'data'; by default the first local device.
          width: columns of other arrays that are held beside each block, which gets smaller for them.
          order: int [columns], the gallery item of each column; items may be left out or repeated. By default all in
            their order.
        """
        self._query, self._gallery, self._label = query, gallery, label
        self._order = np.arange(len(gallery)) if order is None else order
        count = len(self._order)
        chunks = max(-(-count * gallery.vector.shape[1] * 4 // CHUNK_BYTES), 1)
        self.mesh = one_device() if mesh is None else mesh
        self.columns = round_up(-(-count // chunks), GALLERY_MULTIPLE)
        self.chunks = -(-count // self.columns)
        self.rows = block_rows(self.mesh, len(query), self.columns + 3 * width)
        self.block = self.rows * self.mesh.size
        self._placed, self._chunk = None, None

    def tile(self, chunk: int, block: np.ndarray) -> tuple[jax.Array, jax.Array]:
        """Scores float32 [block, columns] of the queries `block` (at most so many), and the columns' labels.

        The nearer the larger; in the gallery's padding the score is -inf and the label PADDING.
        """
        if chunk != self._placed:
            self._chunk = None  # the old chunk goes before the new one comes
            self._chunk = self._place_chunk(chunk)
            self._placed = chunk
        gallery, half_norm, label = self._chunk
        query = self.place(_float32("query embeddings", self._query.vector[block]))
        return _score_function(self.mesh)(query, gallery, half_norm), label

    def distance(self, score: jax.Array, block: np.ndarray) -> jax.Array:
        """Euclidean distances from scores of the queries `block`; equal scores of a query give equal bits."""
        return _distance(score, self.place(self._query.squared_norm[block]))

    def place(self, array: np.ndarray, fill: float = 0) -> jax.Array:
        """The array [b, ...] of a block of queries on the devices that have their rows, padded with `fill`."""
        return place(self.mesh, pad(array, self.block, fill), PartitionSpec("data"))

    def _place_chunk(self, chunk: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        item = self._order[chunk * self.columns : (chunk + 1) * self.columns]
        gallery = np.zeros((self.columns, self._gallery.vector.shape[1]), np.float32)
        for rows in _slices(len(item)):
            gallery[rows] = _float32("gallery embeddings", self._gallery.vector[item[rows]])
        half_norm = pad(np.float32(0.5) * self._gallery.squared_norm[item], self.columns, np.inf)
        label = pad(self._label[chunk * self.columns :][: len(item)], self.columns, PADDING)
        return tuple(place(self.mesh, array, PartitionSpec()) for array in (gallery, half_norm, label))


class DistanceTiles:
    """Tiles of scores from given distances, in one chunk of all gallery items; otherwise as `EmbeddingTiles`.

    On one device: each process has the distances of all queries.
    """

    def __init__(self, distances: Distances, label: np.ndarray, queries: int, *, width: int):
        self._distances, self._label = distances, label
        self.mesh = one_device()
        self.columns = round_up(len(label), GALLERY_MULTIPLE)
        self.chunks = 1
        self.rows = self.block = block_rows(self.mesh, queries, self.columns + 3 * width)
        self._placed_label = place(self.mesh, pad(label, self.columns, PADDING), PartitionSpec())

    def tile(self, chunk: int, block: np.ndarray) -> tuple[jax.Array, jax.Array]:
        """As `EmbeddingTiles.tile`. Raises InputError where distances have another shape or are not finite."""
        given = np.asarray(self._distances(block))
        if given.shape != (len(block), len(self._label)):
            raise InputError(
                f"distances of {len(block)} queries have shape {list(given.shape)}; give one row a query, "
                f"[{len(block)}, {len(self._label)}]"
            )
        score = np.full((self.block, self.columns), -np.inf, np.float32)
        inside = score[: len(block), : len(self._label)]
        np.negative(_float32("distances", given), out=inside)
        if not np.isfinite(inside).all():
            row, column = np.argwhere(~np.isfinite(inside))[0]
            raise InputError(
                f"the distance of query {block[row]} to gallery item {column} is {given[row, column]}; "
                "give finite float32 distances"
            )
        return place(self.mesh, score, PartitionSpec("data")), self._placed_label

    def distance(self, score: jax.Array, block: np.ndarray) -> jax.Array:
        """The given distances from scores."""
        return -score

    def place(self, array: np.ndarray, fill: float = 0) -> jax.Array:
        """As `EmbeddingTiles.place`."""
        return place(self.mesh, pad(array, self.block, fill), PartitionSpec("data"))


Tiles = EmbeddingTiles | DistanceTiles


def blocks(items: np.ndarray, size: int) -> list[np.ndarray]:
    """The items in runs of `size`."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def one_behind(
    mesh: Mesh, dispatched: Iterable[tuple[Any, Sequence[jax.Array]]]
) -> Iterator[tuple[Any, list[np.ndarray]]]:
    """Brings each tile's arrays to the host while the devices work on the next; more in flight only takes memory."""
    pending = collections.deque()
    for tag, arrays in dispatched:
        pending.append((tag, replicate(mesh)(tuple(arrays))))
        if len(pending) > 1:
            tag, arrays = pending.popleft()
            yield tag, [np.asarray(array) for array in arrays]
    for tag, arrays in pending:
        yield tag, [np.asarray(array) for array in arrays]


def spread(function: Callable, mesh: Mesh, in_specs: tuple[PartitionSpec, ...], **options) -> Callable:
    """Jits `function` over a mesh: each device works on its own rows, and keeps its rows of the results."""
    data = PartitionSpec("data")
    # check_vma: a loop's carry starts the same on all devices and then differs, as it should here.
    mapped = jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=data, check_vma=False)
    return jax.jit(mapped, out_shardings=NamedSharding(mesh, data), **options)


def pad(array: np.ndarray, rows: int, fill: float = 0) -> np.ndarray:
    """The array with rows of `fill` after it, up to `rows`."""
    if len(array) == rows:
        return array
    padded = np.full((rows, *array.shape[1:]), fill, array.dtype)
    padded[: len(array)] = array
    return padded


def block_rows(mesh: Mesh, queries: int, columns: int) -> int:
    """Queries in one device's block of float32 [rows, columns], padding included: what fills `BLOCK_BYTES` or less."""
    fit = BLOCK_BYTES // (4 * columns)
    if mesh.devices.flat[0].platform == "cpu":
        fit = min(fit, max(_CACHE_BYTES // (4 * columns), _FEW_ROWS))
    fit = max(fit // QUERY_MULTIPLE, 1) * QUERY_MULTIPLE
    return min(fit, 1024, round_up(queries, QUERY_MULTIPLE))


def round_up(count: int, multiple: int) -> int:
    """The least multiple that is not below `count`."""
    return -(-count // multiple) * multiple


def _score(query: jax.Array, gallery: jax.Array, half_norm: jax.Array) -> jax.Array:
    """The scores q.g - |g|^2 / 2 of every pair, [b, n]: they order a query's gallery as the distance does.

    |q - g|^2 = |q|^2 - 2 (q.g - |g|^2 / 2), and |q|^2 is the same for a whole row. Unlike 1 - q.g a score is right
    for embeddings of any norm, as far as float32 goes; unlike the full formula it needs no clipping at zero, which
    would tie items that differ; equal gallery items get bit-equal values, and nothing is NaN. HIGHEST keeps a GPU's
    TF32 and a TPU's bfloat16, which would change ranks, out of the product.
    """
    product = lax.dot_general(query, gallery, (((1,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    return product - half_norm


@functools.cache
def _score_function(mesh: Mesh):
    """`_score` over a mesh.

    A program of its own: inside others the product might be compiled to another kernel, with other bits.
    """
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    return spread(_score, mesh, (data, everywhere, everywhere))


@jax.jit
def _distance(score: jax.Array, squared_norm: jax.Array) -> jax.Array:
    """Distances [b, p] from scores [b, p] and |q|^2 [b]; rounding below zero becomes zero."""
    return jnp.sqrt(jnp.maximum(squared_norm[:, None] - 2.0 * score, 0.0))


def _float32(name: str, array: np.ndarray) -> np.ndarray:
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(f"{name} have type {array.dtype}; give float32")
    with np.errstate(over="ignore"):  # what becomes infinite is refused by the caller, who knows its row
        return array.astype(np.float32, copy=False)


def _slices(count: int) -> list[slice]:
    return [slice(start, min(start + _ROWS_AT_ONCE, count)) for start in range(0, count, _ROWS_AT_ONCE)]
