"""Writing files and folders: complete or not there, and refused before long work where they cannot be written."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from reid_jax.errors import InputError, shown
from reid_jax.files.leftovers import release, temporary_file, temporary_folder


def replace_file(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary path beside `path`, of the same suffix, then renames: complete or not at all.

    Raises InputError where the folder cannot be written.
    """
    path = Path(path)
    temporary = temporary_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; give a file in a writable folder") from error
    finally:
        with contextlib.suppress(OSError):  # a parent that is a file, which the error above tells
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(target: Path, is_complete: Callable[[Path], bool]) -> Iterator[Path]:
    """Gives a temporary folder beside `target` to fill, and renames it when the block ends: complete or not at all.

    A `target` that exists by then stays where `is_complete(target)` says that another process has written the same
    meanwhile, and is replaced otherwise. Raises OSError where it cannot be written.
    """
    with temporary_folder(target) as temporary:
        yield temporary
        release(temporary)
        if target.exists() and not is_complete(target):
            shutil.rmtree(target)
        try:
            os.rename(temporary, target)
        except OSError:
            if not is_complete(target):
                raise


def require_writable(option: str, path: str | os.PathLike, ending: str = "") -> None:
    """Raises InputError, naming the option, where a file could not be written at `path` later, or ends otherwise.

    Nothing is made: the nearest folder that is there is tried with a file without a name.
    """
    name = os.fspath(path)
    if name and ending and Path(name).suffix.lower() != ending:
        raise InputError(f"{option} is {shown(name)!r}; it must end in {ending}")
    with _refusing(option, name):
        path = Path(name)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder; give a file")
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no plain file")
        _look_at(path.with_name(f".{os.getpid()}.{path.name}"))  # as `replace_file` names it first
        _try_to_write(path.parent)


def require_writable_folder(option: str, path: str | os.PathLike) -> None:
    """Raises InputError, naming the option, where files could not be written into the folder `path` later."""
    name = os.fspath(path)
    with _refusing(option, name):
        _look_at(Path(name))
        _try_to_write(Path(name))


Named = tuple[str, str | os.PathLike | None]  # an option, or what else a path is called in messages, and the path


def require_apart(outputs: Iterable[Named], inputs: Iterable[Named]) -> None:
    """Raises InputError, naming both, where a path to write to is one that is read, or another one to write to.

    Paths that are None are passed over. Two names of one file or folder, as by links, count as one.
    """
    taken = [(f"is read as {what}", path) for what, path in inputs if path is not None]
    for option, path in outputs:
        if path is None:
            continue
        for use, other in taken:
            if _is_same(path, other):
                raise InputError(f"{option} is {shown(os.fspath(path))}, which {use}; give another place to write to")
        taken.append((f"{option} writes, too", path))


def _is_same(one: str | os.PathLike, other: str | os.PathLike) -> bool:
    with contextlib.suppress(OSError):  # one of them is not there
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


@contextlib.contextmanager
def _refusing(option: str, name: str) -> Iterator[None]:
    try:
        if not name:
            raise ValueError("name the place to write to")
        yield
    except (OSError, ValueError) as error:  # a ValueError is a name with a NUL in it, too
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} is {shown(name)!r}, which cannot be written: {reason}") from error


def _look_at(path: Path) -> None:
    """Raises OSError or ValueError for what no file can be called."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()


def _try_to_write(folder: Path) -> None:
    """Raises OSError where no file can be made in the folder, or in the nearest one above it that is there."""
    folder = folder.absolute()
    present = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    tempfile.TemporaryFile(dir=present).close()
