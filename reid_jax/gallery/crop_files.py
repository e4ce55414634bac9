"""The small crops of a gallery in a folder: JPEGs one behind the other, a file for each file of vectors."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from reid_jax.gallery.safe_bytes import overwrite, remove, truncate, write_at


class CropFiles:
    """The files in a folder; who writes holds the gallery's write lock, and knows where each crop lies."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, block: int) -> Path:
        """The file of the crops whose vectors are in file `block`."""
        return self.folder / f"{block:06d}.jpegs"

    def write(self, block: int, end: int, crops: Sequence[bytes]) -> list[int]:
        """Appends crops where the file's confirmed part ends; returns where each begins. They are on the disk then."""
        starts = []
        at = end
        for crop in crops:
            starts.append(at)
            at += len(crop)
        truncate(self.path(block), end)
        if at > end:
            write_at(self.path(block), end, b"".join(crops))
        return starts

    def trim(self, ends: dict[int, int]) -> None:
        """Takes away what no confirmed entry has: `ends` says where the confirmed part of each file ends."""
        for path in self.folder.glob("*.jpegs"):
            if path.stem.isdecimal():
                truncate(path, ends.get(int(path.stem), 0))

    def read(self, block: int, at: int, length: int) -> bytes:
        """A crop's bytes; fewer, or none, where the file ends before."""
        try:
            file = os.open(self.path(block), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(file, length, at)
        finally:
            os.close(file)

    def zero(self, block: int, pieces: Iterable[tuple[int, int]]) -> None:
        """Overwrites crops, each (where it begins, bytes)."""
        overwrite(self.path(block), pieces)

    def drop(self, block: int) -> None:
        """Removes a file all of whose crops were overwritten."""
        remove(self.path(block))
