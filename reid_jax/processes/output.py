"""What the command prints: losing it never ends the work, and every terminal gets text."""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator

_PLAIN = {"±": "+-", "×": "x", "·": "*", "–": "-", "−": "-", "…": "...", "✓": "v"}


def keep_going() -> None:
    """Replaces stdout and stderr by streams that outlive a closed pipe, a full disk and letters a terminal lacks.

    What cannot be written is dropped from then on, and said once on stderr. Standard files that are closed become
    /dev/null: else the next file that is opened would get their number, and with it all that libraries print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    codecs.register_error("plain", _plain)
    sys.stdout = _lasting(sys.stdout, 1)
    sys.stderr = _lasting(sys.stderr, 2)


def finish() -> None:
    """Writes what is still held back; a reader of stdout that left early, such as `head`, is no news any more."""
    for stream in (sys.stdout, sys.stderr):
        stream.finished = True
        stream.flush()


def print_at_once(line: str) -> None:
    """Writes a line to stderr at once, past the locks of streams: for threads that end the process."""
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="replace"))


class _Lasting(io.TextIOWrapper):
    """A standard file that becomes /dev/null when it cannot be written."""

    finished = False

    def write(self, text: str) -> int:
        """Writes the text, or drops it."""
        with self._outliving():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is held back, or drops it."""
        with self._outliving():
            super().flush()

    @contextlib.contextmanager
    def _outliving(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if self.fileno() == 1 and not (self.finished and error.errno == errno.EPIPE):
                print(f"reid-jax: stdout is lost ({error.strerror}); the work goes on without it", file=sys.stderr)


def _lasting(old: io.TextIOWrapper | None, descriptor: int) -> _Lasting:
    encoding = old.encoding if old is not None else "utf-8"
    lines = descriptor == 2 or (old is not None and old.line_buffering)
    return _Lasting(open(descriptor, "wb", closefd=False), encoding, "plain", line_buffering=lines)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(x) or x.encode("ascii", "backslashreplace").decode() for x in letters), error.end
