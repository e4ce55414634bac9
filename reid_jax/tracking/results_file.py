"""Results as they come, frame by frame: whole under their name, or under another with how far they go.

While a run goes, its results are in NAME.partial beside NAME, and behind each frame's rows stands a comment

    # to frame 412 of 795

When it ends the comments are taken out and the file gets its name. So what is called NAME is complete and plain
MOTChallenge text, and what an interrupted run leaves, even one that was killed, says how far it goes.
`mot_files.read_results` refuses a file with such a comment.
"""

import os
from pathlib import Path
from types import TracebackType

from reid_jax.errors import InputError, shown
from reid_jax.tracking.mot_files import COMMENT, Rows, result_line

_ENDING = ".partial"


class ResultsFile:
    """Writes results frame by frame.

    with ResultsFile("pets.txt", count=795) as results:
        for rows in ...:
            results.write(rows)
    """

    def __init__(self, path: str | os.PathLike, count: int | None = None):
        """`count` is how many frames there will be; None where that is not known."""
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + _ENDING)
        self.frames = 0
        self._count = count

    def __enter__(self) -> "ResultsFile":
        """Opens the file; raises InputError where it cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.partial.open("w", encoding="ascii")
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def write(self, rows: Rows) -> None:
        """Adds the next frame's rows, all of that frame; there may be none."""
        self.frames += 1
        of = "" if self._count is None else f" of {self._count}"
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
        self._file.close()
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
