"""The largest dot products of queries with blocks of vectors on a GPU or TPU, which keeps blocks between searches."""

import collections
import functools
import sys
import threading
from collections.abc import Iterable

import numpy as np

_FEWEST = 1024  # rows that a block is filled up to; then a power of two, so that few shapes compile
_SHARE = 0.6  # of the device's memory that blocks may take
_UNKNOWN_MEMORY = 2**31  # bytes, where the device does not say


def has_accelerator() -> bool:
    """Whether JAX is in use and computes on something other than the CPU."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.default_backend() != "cpu"


class DeviceBlocks:
    """Blocks on the first device; `largest` is `blockwise.largest` there."""

    def __init__(self):
        self._kept: collections.OrderedDict[tuple[int, int], object] = collections.OrderedDict()
        self._lock = threading.Lock()

    def largest(
        self, query: np.ndarray, blocks: Iterable[tuple[int, np.ndarray, np.ndarray | None]], k: int
    ) -> list[np.ndarray]:
        """See `blockwise.largest`; products are computed in float32, whatever the device's own choice is."""
        padded = np.zeros((1 << (len(query) - 1).bit_length(), query.shape[1]), np.float32)
        padded[: len(query)] = query
        parts = []
        for first, rows, meant in blocks:
            if not len(rows):
                continue
            block = self._block(first, rows)
            present = np.zeros(block.shape[0], bool)
            present[slice(len(rows)) if meant is None else meant] = True
            values, places = _top(padded, block, present, min(k, block.shape[0]))
            parts.append((first, values, places))  # not waited for: the next block is on its way
        found = [(np.zeros(0, np.float32), np.zeros(0, np.int64)) for _ in query]
        for first, values, places in parts:
            for row, (score, place) in enumerate(zip(np.asarray(values), np.asarray(places), strict=True)):
                if row < len(found):
                    there = score > -np.inf
                    found[row] = (
                        np.concatenate([found[row][0], score[there]]),
                        np.concatenate([found[row][1], place[there].astype(np.int64) + first]),
                    )
        return [ids[np.argsort(-score, kind="stable")[:k]] for score, ids in found]

    def forget(self) -> None:
        """Lets go of all blocks: entries were erased."""
        with self._lock:
            self._kept.clear()

    def _block(self, first: int, rows: np.ndarray):
        key = (first, len(rows))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            import jax

            filled = np.zeros((max(_FEWEST, 1 << (len(rows) - 1).bit_length()), rows.shape[1]), np.float32)
            filled[: len(rows)] = rows
            device = jax.local_devices()[0]
            for old in [old for old in self._kept if old[0] == first]:
                del self._kept[old]
            room = _room(device) - filled.nbytes
            while self._kept and sum(block.nbytes for block in self._kept.values()) > room:
                self._kept.popitem(last=False)
            block = self._kept[key] = jax.device_put(filled, device)
            return block


def _room(device) -> int:
    stats = device.memory_stats() or {}
    return int(_SHARE * stats.get("bytes_limit", _UNKNOWN_MEMORY / _SHARE))


def _top(query: np.ndarray, block, present: np.ndarray, k: int):
    import jax

    with jax.transfer_guard_host_to_device("allow"):
        return _compiled(k)(query, block, present)


@functools.cache
def _compiled(k: int):
    import jax
    import jax.numpy as jnp

    from reid_jax.retrieval.top_k import top_k

    def top(query, block, present):
        score = jnp.dot(query, block.T, precision=jax.lax.Precision.HIGHEST)
        return top_k(jnp.where(present, score, -jnp.inf), k)

    return jax.jit(top)
