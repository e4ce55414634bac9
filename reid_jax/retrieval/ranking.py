"""Exact ranking by counting: a match stands at 1 + the number of valid gallery items that are nearer.

The protocol is Market-1501's (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015): for
a query, gallery items of the same identity and camera are removed. Nothing is sorted but a query's own
matches, and no query x gallery matrix outlives its block of queries.
"""

import collections
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from reid_jax.errors import InputError

# One block of queries x the whole gallery takes about this much on each device. It must not depend on the
# number of devices: the same block shape runs the same kernels and gives the same bits.
BLOCK_BYTES = 64 * 2**20
# The gallery and a block are padded to multiples of these. A matrix product may add up the ragged edge of its
# output in another order than the rest; behind padding, equal embeddings get bit-equal distances everywhere.
GALLERY_MULTIPLE = 128
QUERY_MULTIPLE = 16
# So many matches are counted in one pass over the distances.
MATCHES_AT_ONCE = 8
UNKNOWN_CAMERA = -1


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
      distance: float32 [matches], Euclidean, to the query; float32 rounding leaves up to about 0.001 of the
        norm where it should be 0, equally for equal items.
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
    *,
    query_identity: np.ndarray,
    query_camera: np.ndarray,
    gallery_identity: np.ndarray,
    gallery_camera: np.ndarray,
    mesh: Mesh | None = None,
) -> Ranking:
    """Ranks every match of every query in the gallery, exactly, in bounded memory.

    Args:
      query: float [nq, d], embeddings; unit norm is usual, any norm is right.
      gallery: float [ng, d], embeddings.
      query_identity: int [nq]. `gallery_identity`: int [ng].
      query_camera: int [nq], -1 where unknown: nothing is removed then. `gallery_camera`: int [ng].
      mesh: a mesh with the one axis 'data': blocks of queries are spread over its devices, each of which
        holds the gallery. The result does not depend on it. By default the first local device.

    Returns:
      The ranks, from which `reid_jax.retrieval.metrics` computes everything. Beside the gallery's copy and a
      few times `BLOCK_BYTES` on each device it needs 8 bytes a match.

    Raises:
      InputError: shapes or lengths disagree, query or gallery is empty, or an embedding is not finite.
    """
    data = _check(query, gallery, query_identity, query_camera, gallery_identity, gallery_camera)
    ng = len(data.gallery)
    by_identity = np.argsort(data.gallery_identity, kind="stable")
    start, stop = _equal_range(data.gallery_identity[by_identity], data.query_identity)
    start_removed, stop_removed = _equal_range(np.sort(data.gallery_sight), data.query_sight)
    removed = stop_removed - start_removed
    matches = stop - start - removed
    offsets = np.concatenate([[0], np.cumsum(matches)])
    negatives_before = np.empty(offsets[-1], np.int32)
    distance = np.empty(offsets[-1], np.float32)

    # Queries of many matches first: a block then holds queries of like numbers, and its loop over the matches
    # ends at the block's own largest. Queries without a match need no device.
    order = np.argsort(-matches, kind="stable")[: np.count_nonzero(matches)]
    width = _round_up(int(matches.max()), MATCHES_AT_ONCE)
    rows = _block_rows(len(data.query), ng, int((stop - start).max()))

    def inputs(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        item = start[block, None] + np.arange((stop - start)[block].max())
        inside = item < stop[block, None]
        item = by_identity[np.where(inside, item, 0)]
        keep = inside & (data.gallery_sight[item] != data.query_sight[block, None])
        row, column = np.nonzero(keep)
        index = np.zeros((len(block), width), np.int32)
        index[row, np.cumsum(keep, axis=1)[row, column] - 1] = item[row, column]
        return data.query_identity[block], index

    def collect(block: np.ndarray, block_distance: np.ndarray, block_count: np.ndarray) -> None:
        # The count grows with the distance, so each may be sorted by itself.
        column = np.arange(width)
        inside = column < matches[block, None]
        flat = (offsets[block, None] + column)[inside]
        distance[flat] = np.sort(np.where(inside, block_distance, np.inf), axis=1)[inside]
        negatives_before[flat] = np.sort(np.where(inside, block_count, ng), axis=1)[inside]

    mesh = _one_device() if mesh is None else mesh
    gallery_arrays = _place_gallery(mesh, data.gallery, data.gallery_identity)
    blocks = _blocks(order, rows * mesh.size)
    pending = collections.deque()
    for block in tqdm(blocks, "ranking", unit="block", delay=3, disable=jax.process_index() != 0):
        passes = np.zeros(mesh.size, np.int32)
        for device, part in enumerate(_blocks(block, rows)):
            passes[device] = -(-matches[part].max() // MATCHES_AT_ONCE)
        arrays = (data.query[block], *inputs(block))
        sharded = [_place(mesh, _pad(array, rows * mesh.size), PartitionSpec("data")) for array in arrays]
        sharded.append(_place(mesh, passes, PartitionSpec("data")))
        pending.append((block, _count_function(mesh)(*sharded, *gallery_arrays)))
        # One block is collected on the host while the next runs; more in flight would only take memory.
        if len(pending) > 1:
            _collect(pending, collect)
    while pending:
        _collect(pending, collect)
    return Ranking(offsets, negatives_before, distance, removed.astype(np.int32))


def nearest(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    k: int,
    *,
    query_identity: np.ndarray,
    query_camera: np.ndarray,
    gallery_identity: np.ndarray,
    gallery_camera: np.ndarray,
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
    data = _check(query, gallery, query_identity, query_camera, gallery_identity, gallery_camera)
    if k < 1:
        raise InputError(f"nearest: k is {k}; ask for at least 1 gallery item")
    nq, ng = len(data.query), len(data.gallery)
    index = np.full((nq, k), -1, np.int32)
    distance = np.full((nq, k), np.inf, np.float32)

    def collect(block: np.ndarray, block_distance: np.ndarray, block_index: np.ndarray) -> None:
        found = block_distance.shape[1]
        distance[block, :found] = block_distance
        index[block, :found] = np.where(np.isinf(block_distance), -1, block_index)

    mesh = _one_device() if mesh is None else mesh
    rows = _block_rows(nq, ng, k) * mesh.size
    gallery_arrays = _place_gallery(mesh, data.gallery, data.gallery_sight)
    pending = collections.deque()
    blocks = _blocks(np.arange(nq), rows)
    for block in tqdm(blocks, "nearest", unit="block", delay=3, disable=jax.process_index() != 0):
        arrays = (data.query[block], data.query_sight[block])
        sharded = [_place(mesh, _pad(array, rows), PartitionSpec("data")) for array in arrays]
        pending.append((block, _nearest_function(mesh, min(k, ng))(*sharded, *gallery_arrays)))
        if len(pending) > 1:
            _collect(pending, collect)
    while pending:
        _collect(pending, collect)
    return index, distance


def _score(query: jax.Array, gallery: jax.Array, half_norm: jax.Array) -> jax.Array:
    """The nearness q.g - |g|^2 / 2 of every pair, [b, n]: it orders a query's gallery as the distance does.

    |q - g|^2 = |q|^2 - 2 (q.g - |g|^2 / 2), and |q|^2 is the same for a whole row. Unlike 1 - q.g it is right
    for embeddings of any norm; unlike the full formula it needs no clipping at zero, which would tie items
    that differ; equal gallery items get bit-equal values, and nothing is NaN. HIGHEST keeps a GPU's TF32 and a
    TPU's bfloat16, which would change ranks, out of the product.
    """
    product = lax.dot_general(query, gallery, (((1,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    return product - half_norm


def _distance(score: jax.Array, query: jax.Array) -> jax.Array:
    """Euclidean distances [b, p] from scores [b, p] of the queries [b, d]; rounding below zero becomes zero."""
    return jnp.sqrt(jnp.maximum(jnp.sum(query * query, axis=1, keepdims=True) - 2.0 * score, 0.0))


def _count_block(query, query_identity, index, passes, gallery, half_norm, gallery_identity):
    """Distances of one device's matches and the negatives at least as near.

    query [b, d], query_identity [b], index [b, p] (matches in the gallery), passes [1] (of `MATCHES_AT_ONCE`
    matches each), gallery [n, d], half_norm [n], gallery_identity [n] -> float32 [b, p], int32 [b, p]. What
    stands beyond a query's matches means nothing.
    """
    score = _score(query, gallery, half_norm)
    # The matches' scores come from the very product that they are compared with: a tie is a tie in every bit.
    match = jnp.take_along_axis(score, index, axis=1)
    negative = jnp.where(query_identity[:, None] != gallery_identity, score, -jnp.inf)

    def count(i: jax.Array, counts: jax.Array) -> jax.Array:
        threshold = lax.dynamic_slice_in_dim(match, i * MATCHES_AT_ONCE, MATCHES_AT_ONCE, axis=1)
        # One variadic reduction reads the row once for all thresholds and writes nothing but the sums; plain
        # sums of a broadcast comparison keep [b, MATCHES_AT_ONCE, n] on the CPU and run 40 times slower.
        nearer = [(negative >= threshold[:, j : j + 1]).astype(jnp.int32) for j in range(MATCHES_AT_ONCE)]
        sums = lax.reduce(
            nearer,
            [np.int32(0)] * MATCHES_AT_ONCE,
            lambda a, b: [x + y for x, y in zip(a, b, strict=True)],
            (1,),
        )
        return lax.dynamic_update_slice_in_dim(counts, jnp.stack(sums, axis=1), i * MATCHES_AT_ONCE, axis=1)

    counts = lax.fori_loop(0, passes[0], count, jnp.zeros(index.shape, jnp.int32))
    return _distance(match, query), counts


def _nearest_block(query, query_sight, gallery, half_norm, gallery_sight, *, k):
    """The k largest scores of one device's queries: float32 [b, k] distances, int32 [b, k] indices."""
    score = _score(query, gallery, half_norm)
    score = jnp.where(query_sight[:, None] == gallery_sight, -jnp.inf, score)
    value, index = lax.top_k(score, k)
    return _distance(value, query), index


@functools.cache
def _count_function(mesh: Mesh):
    """`_count_block` over a mesh: each device takes its own rows; the result is on every device."""
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    in_specs = (data, data, data, data, everywhere, everywhere, everywhere)
    # check_vma: a loop's carry starts the same on all devices and then differs, as it should here.
    spread = jax.shard_map(_count_block, mesh=mesh, in_specs=in_specs, out_specs=(data, data), check_vma=False)
    return jax.jit(spread, out_shardings=NamedSharding(mesh, everywhere))


@functools.cache
def _nearest_function(mesh: Mesh, k: int):
    """`_nearest_block` over a mesh, as `_count_function`."""
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    spread = jax.shard_map(
        functools.partial(_nearest_block, k=k),
        mesh=mesh,
        in_specs=(data, data, everywhere, everywhere, everywhere),
        out_specs=(data, data),
        check_vma=False,
    )
    return jax.jit(spread, out_shardings=NamedSharding(mesh, everywhere))


@functools.partial(jax.jit, static_argnames="count")
def _half_norm(gallery: jax.Array, count: int) -> jax.Array:
    """Half the squared norms [n]; inf for the padding from `count` on, which puts it behind everything."""
    half = 0.5 * jnp.sum(gallery * gallery, axis=1)
    return jnp.where(jnp.arange(len(gallery)) < count, half, jnp.inf)


@dataclasses.dataclass(frozen=True)
class _Checked:
    """Inputs found good: float32 embeddings, and int32 labels counted from 0.

    A sight is an identity under a camera: a gallery item of the query's sight is removed. The sight of a query
    whose camera is unknown is -1, which no gallery item has.
    """

    query: np.ndarray
    gallery: np.ndarray
    query_identity: np.ndarray
    gallery_identity: np.ndarray
    query_sight: np.ndarray
    gallery_sight: np.ndarray


def _check(query, gallery, query_identity, query_camera, gallery_identity, gallery_camera) -> _Checked:
    query, gallery = _check_embedding("query", query), _check_embedding("gallery", gallery)
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"query embeddings have {query.shape[1]} dimensions, gallery embeddings {gallery.shape[1]}; "
            "embed both with one model"
        )
    nq = len(query)
    identity = np.concatenate(
        [
            _check_labels("query_identity", query_identity, nq),
            _check_labels("gallery_identity", gallery_identity, len(gallery)),
        ]
    )
    camera = np.concatenate(
        [
            _check_labels("query_camera", query_camera, nq),
            _check_labels("gallery_camera", gallery_camera, len(gallery)),
        ]
    )
    # Numbered anew from 0, a label fits in int32 whatever the data set's own numbers are.
    identity = np.unique(identity, return_inverse=True)[1].astype(np.int32)
    cameras, camera_index = np.unique(camera, return_inverse=True)
    sight = np.unique(identity * np.int64(len(cameras)) + camera_index, return_inverse=True)[1].astype(np.int32)
    query_sight = np.where(camera[:nq] == UNKNOWN_CAMERA, np.int32(-1), sight[:nq])
    return _Checked(query, gallery, identity[:nq], identity[nq:], query_sight, sight[nq:])


def _check_embedding(name: str, embedding: np.ndarray | jax.Array) -> np.ndarray:
    embedding = np.asarray(embedding, dtype=np.float32)
    if embedding.ndim != 2:
        raise InputError(f"{name} embeddings have shape {list(embedding.shape)}; give [items, dimensions]")
    if 0 in embedding.shape:
        raise InputError(f"{name} embeddings have shape {list(embedding.shape)}, nothing to rank; is {name} empty?")
    bad = np.flatnonzero(~np.isfinite(np.einsum("nd,nd->n", embedding, embedding)))
    if len(bad):
        raise InputError(
            f"{name} embedding {bad[0]} (of {len(bad)} such) is not finite, or its squared norm "
            "is beyond float32; look at that image and at the weights"
        )
    return embedding


def _check_labels(name: str, labels: np.ndarray, count: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise InputError(
            f"{name} has shape {list(labels.shape)}, but there are {count} embeddings; give one integer for each"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{name} has type {labels.dtype}; give integers")
    return labels.astype(np.int64)


def _equal_range(values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted value starts and stops in sorted values."""
    return np.searchsorted(values, wanted, "left"), np.searchsorted(values, wanted, "right")


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _block_rows(nq: int, ng: int, width: int) -> int:
    """Queries in one device's block: distances and the three arrays of `width` columns fill `BLOCK_BYTES`."""
    rows = BLOCK_BYTES // (4 * (_round_up(ng, GALLERY_MULTIPLE) + 3 * width))
    rows = max(rows // QUERY_MULTIPLE, 1) * QUERY_MULTIPLE
    return min(rows, 1024, _round_up(nq, QUERY_MULTIPLE))


def _blocks(items: np.ndarray, size: int) -> list[np.ndarray]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _pad(array: np.ndarray, rows: int) -> np.ndarray:
    """The array with zero rows after it, up to `rows`."""
    if len(array) == rows:
        return array
    padded = np.zeros((rows, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


def _one_device() -> Mesh:
    return Mesh(np.array(jax.local_devices()[:1]), ("data",), axis_types=(AxisType.Auto,))


def _place(mesh: Mesh, array: np.ndarray, spec: PartitionSpec) -> jax.Array:
    """The array on the mesh; of several processes each hands over its own devices' part of the same array."""
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])


def _place_gallery(mesh: Mesh, embedding: np.ndarray, label: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Padded gallery embeddings [n, d], half norms [n] and labels [n] on every device."""
    padded = _round_up(len(embedding), GALLERY_MULTIPLE)
    gallery = _place(mesh, _pad(embedding, padded), PartitionSpec())
    label = _place(mesh, _pad(label, padded), PartitionSpec())
    return gallery, _half_norm(gallery, len(embedding)), label


def _collect(pending: collections.deque, collect) -> None:
    """Hands the oldest pending block's rows, without padding, to `collect` as NumPy arrays."""
    block, results = pending.popleft()
    collect(block, *(np.asarray(result)[: len(block)] for result in results))
