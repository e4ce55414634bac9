"""Results as they come, frame by frame: whole under their name, or under another with how far they go.

While a run goes, its results are in NAME.partial beside NAME, and behind each frame's rows stands a comment

    # to frame 412 of 795

When it ends the comments are taken out and the file gets its name. So what is called NAME is complete and plain
MOTChallenge text, and what an interrupted run leaves, even one that was killed, says how far it goes.
`mot_files.read_results` refuses a file with such a comment, and one of that ending. NAME.partial is locked while its
run goes, so that no second one writes into it.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import TextIO

from reid_jax.errors import InputError, shown
from reid_jax.files.writing import require_writable
from reid_jax.progress import tell
from reid_jax.tracking.mot_files import COMMENT, PARTIAL, Rows, result_line


def partial_of(path: str | os.PathLike) -> Path:
    """Where the results are of a run that has not ended."""
    path = Path(path)
    return path.with_name(path.name + PARTIAL)


def note_newer_run(path: str | os.PathLike) -> None:
    """Says on stderr where beside results a newer run's are that has not ended: `path` is of an earlier one."""
    partial = partial_of(path)
    with contextlib.suppress(OSError):  # one of them is not there
        if partial.stat().st_mtime_ns > os.stat(path).st_mtime_ns:
            tell(f"{shown(path)} is of an earlier run: a newer one has not ended, and is in {shown(partial)}")


def require_results(option: str, path: str | os.PathLike) -> None:
    """Raises InputError, naming the option, where results cannot be written to `path` later."""
    require_writable(option, path)
    if os.fspath(path).endswith(PARTIAL):
        raise InputError(
            f"{option} is {shown(os.fspath(path))}, and {PARTIAL} is of runs that have not ended; give another name"
        )


class ResultsFile:
    """Writes results frame by frame.

    with ResultsFile("pets.txt", count=795) as results:
        for rows in ...:
            results.write(rows)
    """

    def __init__(self, path: str | os.PathLike, count: int | None = None):
        """`count` is how many frames there will be, about; None where that is not known."""
        self.path = Path(path)
        self.partial = partial_of(self.path)
        self.frames = 0
        self._count = count

    def __enter__(self) -> "ResultsFile":
        """Opens the file; raises InputError where it cannot be written, or another run writes it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(self.partial)
        except BlockingIOError as error:
            raise InputError(
                f"another run is writing {shown(self.partial)}; wait for its end, or give another file"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def write(self, rows: Rows) -> None:
        """Adds the next frame's rows, all of that frame; there may be none."""
        self.frames += 1
        of = "" if self._count is None or self._count < self.frames else f" of {self._count}"
        lines = [result_line(rows, row) for row in range(len(rows))]
        try:
            self._file.write("".join(f"{line}\n" for line in [*lines, f"{COMMENT} to frame {self.frames}{of}"]))
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Gives the file its name; after an error, which passes, it stays as it is under the other name."""
        with self._file:  # locked until its rest is gone
            if kind is not None:
                return
            whole = self.partial.with_name(f".{self.partial.name}")
            try:
                with self.partial.open(encoding="ascii") as rows, whole.open("w", encoding="ascii") as plain:
                    plain.writelines(line for line in rows if not line.startswith(COMMENT))
                os.replace(whole, self.path)
                self.partial.unlink()
            except OSError as failure:
                raise self._unwritable(failure) from failure

    def _unwritable(self, error: OSError) -> InputError:
        reason = error.strerror or error
        return InputError(f"cannot write {shown(self.path)}: {reason}; give a file in a writable folder")


def _open_locked(path: Path) -> TextIO:
    """Opens a file to write it anew, with an exclusive lock; BlockingIOError where another holds it."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "w", encoding="ascii")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # a file system without locks
                pass
            # A run that ended between the two calls has taken the file away: then this one is nobody's.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    file.truncate(0)
                    return file
        except BaseException:
            file.close()
            raise
        file.close()
