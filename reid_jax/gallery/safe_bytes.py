"""Bytes in files that are on the disk when a call returns: written at a place, overwritten, cut off."""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

_PIECE = 2**20


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Writes bytes at an offset of a file, which is made where it is missing; raises OSError where it cannot."""
    is_new = not path.exists()
    if is_new:
        path.parent.mkdir(exist_ok=True)
    with _opened(path, os.O_RDWR | os.O_CREAT) as file:
        view = memoryview(data)
        while view:
            written = os.pwrite(file, view, offset)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            view, offset = view[written:], offset + written
        os.fsync(file)
    if is_new:
        _sync_folder(path.parent)
        _sync_folder(path.parent.parent)


def overwrite(path: Path, pieces: Iterable[tuple[int, int]]) -> None:
    """Writes zeros over pieces of a file, each (offset, bytes), as far as it reaches; nothing where it is missing."""
    with contextlib.suppress(FileNotFoundError), _opened(path, os.O_RDWR) as file:
        size = os.fstat(file).st_size
        for offset, length in pieces:
            end = min(offset + length, size)
            while offset < end:
                offset += os.pwrite(file, bytes(min(_PIECE, end - offset)), offset)
        os.fsync(file)


def truncate(path: Path, size: int) -> None:
    """Overwrites and cuts off what lies behind `size` bytes; nothing where the file is missing or shorter."""
    with contextlib.suppress(FileNotFoundError):
        length = path.stat().st_size
        if length > size:
            overwrite(path, [(size, length - size)])
            os.truncate(path, size)


def remove(path: Path) -> None:
    """Overwrites a file and removes it; nothing where it is missing."""
    with contextlib.suppress(FileNotFoundError):
        overwrite(path, [(0, path.stat().st_size)])
        path.unlink()
        _sync_folder(path.parent)


@contextlib.contextmanager
def _opened(path: Path, flags: int):
    file = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        yield file
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    with _opened(folder, os.O_RDONLY) as file:
        os.fsync(file)
