"""The largest dot products of queries with blocks of vectors, exactly, a block at a time."""

from collections.abc import Iterable, Iterator

import numpy as np

_FEW = 8  # where fewer than one of so many rows is meant, those rows are gathered instead of masked
_AT_ONCE = 8_192  # scores that are compared with the best ones


def largest(query: np.ndarray, blocks: Iterable[tuple[int, np.ndarray, np.ndarray | None]], k: int) -> list[np.ndarray]:
    """Returns of each query float32 [q, d] the ids int64 [<= k] of the rows with the k largest dot products.

    A block is (the id of its first row, rows float32 [m, d], the numbers int64 of the rows that are meant, ascending,
    or None for all). In any order; of equal products at the end of the k any may be missing.
    """
    best = [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in query]
    for first, rows, meant in blocks:
        for numbers, part, absent in _parts(rows, meant):
            score = query @ part.T
            if absent is not None:
                score[:, absent] = -np.inf
            for mine, values in enumerate(score):
                for start in range(0, len(values), _AT_ONCE):
                    piece = slice(start, start + _AT_ONCE)
                    best[mine] = _merged(*best[mine], values[piece], numbers[piece] + first, k)
    return [ids for ids, _ in best]


def _parts(rows: np.ndarray, meant: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Pieces of a block as (the numbers of their rows, the rows, which of these are not meant, None where all are)."""
    if meant is not None and len(meant) * _FEW < len(rows):
        yield meant, rows[meant], None
        return
    absent = None
    if meant is not None:
        absent = np.ones(len(rows), bool)
        absent[meant] = False
    yield np.arange(len(rows)), rows, absent


def _merged(
    ids: np.ndarray, values: np.ndarray, score: np.ndarray, rows: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of (ids, values) and of the scores of the ids `rows`; -inf is none."""
    better = np.flatnonzero(score > (values.min() if len(values) == k else -np.inf))
    if not len(better):
        return ids, values
    ids, values = np.concatenate([ids, rows[better]]), np.concatenate([values, score[better]])
    if len(values) > k:
        kept = np.argpartition(-values, k - 1)[:k]
        ids, values = ids[kept], values[kept]
    return ids, values
