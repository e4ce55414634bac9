"""A run's folder: that it is new or holds this run, and that one command at a time is at work in it."""

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.json_files import read_json, write_json
from reid_jax.processes import joining
from reid_jax.training.log import say

CONFIG = "config.json"

_LOCK = ".lock"
_LOGS = (".log", ".out", ".err")  # a shell or a scheduler may have written them into a new run's folder
_BELOW = 512  # bytes of the longest path in a workdir, in checkpoints that are being written
# Of a file system that keeps no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def claimed(workdir: Path, changes: Callable[[Any], list[str]]) -> Iterator[None]:
    """Keeps `workdir` for one run while its block lasts; all processes of the run enter together.

    The folder is made where it is missing, and goes again where the block leaves it empty: a run that cannot start
    leaves nothing. It is the run's own from `write_config` on. `changes` lists the keys, with both values, in which a
    stored config, as JSON gives it, differs from the run's.
    Raises InputError for a folder that cannot hold the run: a foreign one, one of another config, one where another
    command is at work, or a path that cannot be written.
    """
    with contextlib.ExitStack() as held:

        def claim():
            try:
                _check_path(workdir)
                _check_owner(workdir)
                if jax.process_index() == 0:
                    held.enter_context(_locked(workdir))
                _check_config(workdir, changes)
            except OSError as error:
                raise InputError(
                    f"--workdir is {shown(workdir)}: {error.strerror or error}; give a folder that can be written"
                ) from error

        joining.process_zero_first(claim)
        yield


def write_config(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.json, the run's config as nested plain values, by process 0 and once.

    Called when the run is known to be able to start: the folder is its own from then on.
    """
    if jax.process_index() == 0 and not (workdir / CONFIG).exists():
        write_json(workdir / CONFIG, config)


def _check_path(workdir: Path) -> None:
    whole = os.path.realpath(workdir)
    try:
        size = len(whole.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"--workdir is {shown(workdir)}, whose name is not UTF-8; give another") from error
    if "\\" in whole:
        raise InputError(f"--workdir is {shown(workdir)}: a backslash would end a folder in checkpoints; leave it out")
    if size + _BELOW > os.pathconf("/", "PC_PATH_MAX"):
        raise InputError(f"--workdir is {shown(workdir)}, a path of {size:,} bytes; give a shorter one")


def _check_owner(workdir: Path) -> None:
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{shown(workdir)} is a file; --workdir takes a folder")
    if not workdir.is_dir() or (workdir / CONFIG).exists():
        return
    foreign = [path.name for path in workdir.iterdir() if not _is_hidden_or_log(path)]
    if foreign:
        raise InputError(
            f"{shown(workdir)} is not empty and is no workdir of a run (it has no {CONFIG}, but "
            f"{first_few(sorted(foreign))}); give a new or empty folder: only hidden files and logs "
            f"({', '.join(f'*{ending}' for ending in _LOGS)}) may stand in it"
        )


def _is_hidden_or_log(path: Path) -> bool:
    return path.name.startswith(".") or (path.suffix in _LOGS and path.is_file())


def _check_config(workdir: Path, changes: Callable[[Any], list[str]]) -> None:
    file = workdir / CONFIG
    if not file.exists():
        return
    try:
        changed = changes(read_json(file))
    except (AttributeError, InputError, RecursionError) as error:
        why = str(error) if isinstance(error, InputError) else f"{shown(file)} holds no config"
        raise InputError(
            f"{why}; the run's config cannot be compared: give another workdir, or put a sound {CONFIG} there, as the "
            "same command writes it into an empty workdir"
        ) from error
    if changed:
        raise InputError(
            f"{shown(workdir)} holds a run of another config ({first_few(changed, '; ')}); resume with its own config, "
            "or give another workdir"
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the kernel frees when the process ends, however it ends."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    lock = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder / _LOCK)
        except BlockingIOError as error:
            raise InputError(
                f"{shown(folder)} is in use: {_holder(folder / _LOCK)} is at work there; wait for it, stop it, or give "
                "another workdir"
            ) from error
        yield
    finally:
        if lock is not None:
            (folder / _LOCK).unlink(missing_ok=True)
            os.close(lock)
        with contextlib.suppress(OSError):  # the first that is not empty
            for each in missing:
                each.rmdir()


def _lock(file: Path) -> int:
    """Opens the file with an exclusive lock, and writes into it who holds it; BlockingIOError where another does."""
    while True:
        # For writing: NFS locks no other.
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                say(f"{shown(file.parent)} is on a file system without locks: let no second command work in it")
            # The one before may have removed the file between the two calls: then this one is nobody's.
            if file.exists() and os.path.samestat(os.fstat(descriptor), os.stat(file)):
                os.truncate(descriptor, 0)
                since = time.strftime("%Y-%m-%d %H:%M:%S")
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {since},".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _holder(file: Path) -> str:
    try:
        return shown(file.read_text(encoding="utf-8", errors="replace")) or "another process"
    except OSError:  # it has just ended
        return "another process"
