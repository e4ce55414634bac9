"""Temporary files and folders that tell whether their owner is alive, so that those of killed processes are swept."""

import contextlib
import fcntl
import glob
import os
import pathlib
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator

OWNER = ".owner"  # a file in the folder, locked as long as its process lives: the kernel lets go of a dead one's
_LONG = 7 * 24 * 3600  # seconds without a change after which a folder is taken for dead, whoever made it


@contextlib.contextmanager
def temporary_folder(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a new folder beside `target`, to be renamed to it; sweeps what dead processes left in such folders.

    It is named `.NAME-RANDOM`, and gone afterwards unless renamed; `release` comes before that.
    Raises OSError where it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with (temporary / OWNER).open("w") as owner:
            with contextlib.suppress(OSError):  # a file system without locks: age alone decides there
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                owner.write(socket.gethostname())  # only now: a free lock with a host's name is a dead process's
                owner.flush()
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def release(temporary: pathlib.Path) -> None:
    """Makes a finished folder ready to be renamed: nothing of its owner stays in it, and everybody may read it."""
    (temporary / OWNER).unlink()
    temporary.chmod(0o755)


def sweep(parent: pathlib.Path, name: str) -> list[tuple[pathlib.Path, int]]:
    """Removes dead processes' temporary folders in `parent` for targets that match `name`, a pattern: [(path, bytes)].

    Only what is certainly dead goes: its lock is free on the host that took it (another host's lock may not be seen
    over a shared file system), or nothing in it has changed for a week.
    """
    swept = []
    for folder in parent.glob(f".{name}-*"):
        if folder.is_dir() and not folder.is_symlink() and _is_dead(folder):
            size = size_of(folder)
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                swept.append((folder, size))
    return swept


def temporary_file(path: pathlib.Path) -> pathlib.Path:
    """Returns a path of this process beside `path`, of the same suffix; takes away what this host's dead ones left."""
    host = socket.gethostname()
    for old in path.parent.glob(f".*.{glob.escape(path.name)}"):
        owner, _, process = old.name[1 : -len(path.name) - 1].rpartition(".")
        if owner == host and process.isdecimal() and not _runs(int(process)):
            old.unlink(missing_ok=True)
    return path.with_name(f".{host}.{os.getpid()}.{path.name}")


def size_of(folder: pathlib.Path) -> int:
    """The bytes of all files below `folder`."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it may be going
            size += path.lstat().st_size
    return size


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _is_dead(folder: pathlib.Path) -> bool:
    try:
        with (folder / OWNER).open("r+") as owner:
            if owner.read() == socket.gethostname():
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
    except OSError:  # locked, or there is no such file (yet)
        pass
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):
            newest = max(newest, path.lstat().st_mtime)
    return time.time() - newest > _LONG
