"""The largest dot products of queries with blocks of vectors, exactly, a block at a time."""

from collections.abc import Iterable

import numpy as np

_FEW = 8  # where fewer than one of so many rows is meant, those rows are gathered instead of masked
_GATHERED = 16_384  # rows at a time


def largest(query: np.ndarray, blocks: Iterable[tuple[int, np.ndarray, np.ndarray | None]], k: int) -> list[np.ndarray]:
    """Returns of each query float32 [q, d] the ids int64 [<= k] of the rows with the k largest dot products.

    A block is (the id of its first row, rows float32 [m, d], the numbers int64 of the rows that are meant, ascending,
    or None for all). In any order; of equal products at the end of the k any may be missing.
    """
    best = [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in query]
    for first, rows, meant in blocks:
        for index, part in _parts(rows, meant):
            score = query @ part.T
            for number, mine in enumerate(score):
                best[number] = _merged(*best[number], mine, index, first, k)
    return [ids for ids, _ in best]


def _parts(rows: np.ndarray, meant: np.ndarray | None):
    """Pieces of a block as (numbers of its rows or None for all, the rows), few enough rows of each gathered."""
    if meant is None:
        yield None, rows
    elif len(meant) * _FEW < len(rows):
        for start in range(0, len(meant), _GATHERED):
            index = meant[start : start + _GATHERED]
            yield index, rows[index]
    elif len(meant):
        yield _Masked(meant, len(rows)), rows


class _Masked:
    """Rows that are computed with all others and taken out of the scores."""

    def __init__(self, meant: np.ndarray, count: int):
        self.absent = np.ones(count, bool)
        self.absent[meant] = False


def _merged(ids, values, score, index, first, k):
    """The k best of (ids, values) and a row of scores."""
    if isinstance(index, _Masked):
        score = np.where(index.absent, -np.inf, score)
        index = None
    floor = values.min() if len(values) == k else -np.inf
    better = np.flatnonzero(score > floor)
    if not len(better):
        return ids, values
    if len(better) > k:
        better = better[np.argpartition(-score[better], k - 1)[:k]]
    rows = better if index is None else index[better]
    ids, values = np.concatenate([ids, rows + first]), np.concatenate([values, score[better]])
    if len(values) > k:
        kept = np.argpartition(-values, k - 1)[:k]
        ids, values = ids[kept], values[kept]
    return ids, values
