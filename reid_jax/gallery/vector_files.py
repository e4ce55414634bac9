"""The vectors of a gallery in a folder: files of 65,536 rows, appended to, memory-mapped and overwritten when erased.

Row i of the gallery, counted from 1 as ids are, is row (i - 1) % 65,536 of file (i - 1) // 65,536, float32, lowest byte
first, without a header. A row whose entry was erased holds zeros; a file without any other row is removed.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_jax.gallery.safe_bytes import overwrite, remove, truncate, write_at

ROWS = 65_536
_TYPE = np.dtype("<f4")


class VectorFiles:
    """The files in a folder; who writes holds the gallery's write lock."""

    def __init__(self, folder: Path, dimensions: int):
        self.folder = folder
        self.dimensions = dimensions
        self._width = dimensions * _TYPE.itemsize
        self._maps: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def path(self, block: int) -> Path:
        """The file of rows block * ROWS + 1 and on."""
        return self.folder / f"{block:06d}.f32"

    def write(self, first: int, vectors: np.ndarray) -> None:
        """Writes rows `first` and on, float32 [n, d]; they are on the disk when it returns, or it raises OSError."""
        for block, start, part in _by_block(first, vectors):
            write_at(self.path(block), start * self._width, np.ascontiguousarray(part, _TYPE).tobytes())

    def trim(self, last: int) -> None:
        """Takes away what lies behind row `last`: the rows of an add that was killed before it was confirmed."""
        block, rows = divmod(last, ROWS)
        truncate(self.path(block), rows * self._width)
        for path in self.folder.glob("*.f32"):
            if path.stem.isdecimal() and int(path.stem) > block:
                remove(path)

    def zero(self, ids: Sequence[int]) -> None:
        """Overwrites the rows of these ids; they are on the disk when it returns."""
        blocks: dict[int, list[tuple[int, int]]] = {}
        for id in ids:
            block, row = divmod(id - 1, ROWS)
            blocks.setdefault(block, []).append((row * self._width, self._width))
        for block, pieces in blocks.items():
            overwrite(self.path(block), pieces)

    def drop(self, block: int) -> None:
        """Removes a file all of whose rows were overwritten."""
        with self._lock:
            self._maps.pop(block, None)
        remove(self.path(block))

    def rows(self, block: int, count: int) -> np.ndarray:
        """The first `count` rows of a file as they are on the disk: float32 [<= count, d], read-only, mapped."""
        with self._lock:
            mapped = self._maps.get(block)
            if mapped is None or len(mapped) < count:
                mapped = self._maps[block] = self._map(block)
        return mapped[:count]

    def take(self, ids: np.ndarray, last: int) -> np.ndarray:
        """Copies of the rows of ascending ids int64 [n], none above `last`: float32 [n, d], zeros where none is."""
        found = np.zeros((len(ids), self.dimensions), np.float32)
        blocks, row = np.divmod(ids - 1, ROWS)
        for block in np.unique(blocks).tolist():
            mapped = self.rows(block, min(ROWS, last - block * ROWS))
            mine = np.flatnonzero((blocks == block) & (row < len(mapped)))
            found[mine] = mapped[row[mine]]
        return found

    def _map(self, block: int) -> np.ndarray:
        path = self.path(block)
        try:
            size = os.path.getsize(path)
        except FileNotFoundError:  # all of its rows were erased
            size = 0
        rows = size // self._width
        if not rows:
            return np.zeros((0, self.dimensions), np.float32)
        return np.memmap(path, _TYPE, "r", shape=(rows, self.dimensions)).view(np.ndarray)


def _by_block(first: int, vectors: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """(file, its first row that is written, vectors) of rows `first` and on."""
    parts = []
    while len(vectors):
        block, start = divmod(first - 1, ROWS)
        part = vectors[: ROWS - start]
        parts.append((block, start, part))
        first, vectors = first + len(part), vectors[len(part) :]
    return parts
