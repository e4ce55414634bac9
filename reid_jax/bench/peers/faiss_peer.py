"""faiss at exact search: its flat index of inner products, all of it in memory."""

from collections.abc import Callable, Iterable

import faiss
import numpy as np

NAME = "faiss flat"


def fill(dimensions: int, blocks: Iterable[np.ndarray]) -> "faiss.IndexFlatIP":
    """Returns an index of the rows of all blocks, float32 [m, d]."""
    index = faiss.IndexFlatIP(dimensions)
    for block in blocks:
        index.add(block)
    return index


def searcher(
    index: "faiss.IndexFlatIP", query: np.ndarray, k: int, meant: np.ndarray | None
) -> Callable[[], np.ndarray]:
    """Returns what searches: the rows int64 [q, k] of the largest products, of those that `meant`, bool [n], leaves."""
    options = {}
    if meant is not None:
        options["params"] = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(meant, bitorder="little")))
    return lambda: index.search(query, k, **options)[1]
