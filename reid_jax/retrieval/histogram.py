"""Exact counts of negatives by distance, tile by tile: all of them in coarse bins, then some bins one by one.

A float32 distance is counted as the 32-bit integer of its bit pattern, arranged so that integers have the order of the
distances; -0 and 0 are one. This integer is its key. A coarse bin holds the 2^10 keys that differ in the lowest bits:

    key = bin x 2^10 + lowest bits          (bins from 0 for the most negative keys)
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reid_jax.parallel import place
from reid_jax.progress import with_progress
from reid_jax.retrieval.pairs import PADDING, Tiles, blocks, spread

LOW_BITS = 10
COARSE_BINS = 1 << (32 - LOW_BITS)
FINE_BINS = 1 << LOW_BITS

# Counts on the devices are int32: so many pairs at most before they are added up on the host.
_PAIRS_AT_ONCE = 2**31 - 1


def count_coarse(tiles: Tiles, query_identity: np.ndarray, progress: str) -> np.ndarray:
    """The negatives in each coarse bin: int64 [COARSE_BINS].

    Args:
      tiles: labelled by identity; columns whose label is `pairs.PADDING` are no negatives.
      query_identity: int32 [nq].
      progress: names a bar on stderr.
    """
    return _count(tiles, query_identity, COARSE_BINS, progress)


def count_fine(tiles: Tiles, query_identity: np.ndarray, chosen: np.ndarray, progress: str) -> np.ndarray:
    """The negatives of each key in chosen coarse bins: int64 [bins x FINE_BINS], key by key, bin after bin.

    `chosen` int32 [bins], -1 for none; the other arguments are those of `count_coarse`.
    """
    return _count(tiles, query_identity, len(chosen) * FINE_BINS, progress, chosen)


def key_of(distance: np.ndarray) -> np.ndarray:
    """The int64 keys of float32 distances."""
    bits = np.where(distance == 0, np.float32(0), distance).astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def distance_of(key: np.ndarray | list[int]) -> np.ndarray:
    """The float32 distances of keys."""
    key = np.asarray(key, np.int64)
    return np.where(key < 0, key ^ 0x7FFFFFFF, key).astype(np.int32).view(np.float32)


def bin_of(key: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """The coarse bin of each key, from 0."""
    return (key >> LOW_BITS) + COARSE_BINS // 2


def lowest_key(bins: np.ndarray) -> np.ndarray:
    """The lowest key of each coarse bin."""
    return (bins - COARSE_BINS // 2) << LOW_BITS


def highest_key(bins: np.ndarray) -> np.ndarray:
    """The highest key of each coarse bin."""
    return lowest_key(bins) + (FINE_BINS - 1)


def _count(
    tiles: Tiles, query_identity: np.ndarray, bins: int, progress: str, chosen: np.ndarray | None = None
) -> np.ndarray:
    """Counts negatives, int64 [bins]: all of them in coarse bins, or those of the `chosen` bins key by key."""
    total = np.zeros(bins, np.int64)
    fixed = () if chosen is None else (place(tiles.mesh, chosen, PartitionSpec()),)
    add, collect = _add_function(tiles.mesh, chosen is not None), _sum_function(tiles.mesh)
    at_once = max(_PAIRS_AT_ONCE // (tiles.block * tiles.columns), 1)
    visits = [
        (chunk, block) for chunk in range(tiles.chunks) for block in blocks(np.arange(len(query_identity)), tiles.block)
    ]
    counts, last = None, None
    for visited, (chunk, block) in enumerate(with_progress(visits, progress, "tiles"), 1):
        if counts is None:
            counts = place(tiles.mesh, np.zeros((tiles.mesh.size, bins), np.int32), PartitionSpec("data"))
        score, gallery_identity = tiles.tile(chunk, block)
        distance = tiles.distance(score, block)
        counts = add(counts, distance, tiles.place(query_identity[block], PADDING), gallery_identity, *fixed)
        if last is not None:
            last.block_until_ready()  # running further ahead only takes memory
        last = distance
        if visited % at_once == 0 or visited == len(visits):
            total += np.asarray(collect(counts))
            counts = None
    return total


def _device_key(distance: jax.Array) -> jax.Array:
    """As `key_of`, on the devices: int32."""
    bits = lax.bitcast_convert_type(jnp.where(distance == 0, 0.0, distance), jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _add_coarse(counts, distance, query_identity, gallery_identity):
    """Adds one device's negatives to counts [1, bins]: distance [b, n], query_identity [b], gallery_identity [n]."""
    negative = _is_negative(query_identity, gallery_identity)
    column = jnp.where(negative, bin_of(_device_key(distance)), counts.shape[1])
    return counts.at[0, column.reshape(-1)].add(1, mode="drop")


def _add_fine(counts, distance, query_identity, gallery_identity, chosen):
    """As `_add_coarse`, those in bin chosen[i] to counts[0, i * FINE_BINS + lowest bits]."""
    key = _device_key(distance)
    coarse = bin_of(key)
    column = jnp.full(key.shape, counts.shape[1], jnp.int32)
    for i in range(len(chosen)):
        column = jnp.where(coarse == chosen[i], i * FINE_BINS + (key & (FINE_BINS - 1)), column)
    column = jnp.where(_is_negative(query_identity, gallery_identity), column, counts.shape[1])
    return counts.at[0, column.reshape(-1)].add(1, mode="drop")


def _is_negative(query_identity: jax.Array, gallery_identity: jax.Array) -> jax.Array:
    """bool [b, n], the pairs of two identities; none with padding."""
    pair = (query_identity != PADDING)[:, None] & (gallery_identity != PADDING)
    return pair & (query_identity[:, None] != gallery_identity)


@functools.cache
def _add_function(mesh: Mesh, fine: bool):
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    if fine:
        return spread(_add_fine, mesh, (data, data, data, everywhere, everywhere), donate_argnums=0)
    return spread(_add_coarse, mesh, (data, data, data, everywhere), donate_argnums=0)


@functools.cache
def _sum_function(mesh: Mesh):
    """The sum over devices, on each of them."""
    return jax.jit(lambda counts: counts.sum(axis=0), out_shardings=NamedSharding(mesh, PartitionSpec()))
