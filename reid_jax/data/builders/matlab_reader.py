"""Reads a MATLAB file in a process of its own: the file on stdin, the names of variables as arguments, .npz on stdout.

SciPy's reader follows a file's claims in C, and a damaged one ends the process. So this file is run as a script by
`reid_jax.data.builders.matlab`; it imports nothing of ours, which keeps its start short.
"""

import contextlib
import io
import os
import sys
from collections.abc import Sequence

import numpy as np
import scipy.io

_SMALL = 2**28  # bytes that any file may take
_TIMES = 100  # what a larger one may take, of its size: MATLAB compresses numbers to a tenth
_SECONDS = 60  # of one core; the largest file of the known data sets takes less than one
_LONGEST_TEXT = 1000


def read_variables(data: bytes, variables: Sequence[str]) -> dict[str, np.ndarray]:
    """The named variables that are there: numbers as they are, cells as text, '' where one holds anything else.

    Raises ValueError for a variable of another kind, and whatever SciPy raises for a file that it does not read.
    """
    content = scipy.io.loadmat(io.BytesIO(data), variable_names=list(variables))
    return {name: _plain(name, content[name]) for name in variables if name in content}


def _plain(name: str, value: object) -> np.ndarray:
    if isinstance(value, np.ndarray) and value.dtype == object:
        texts = [_text(cell) for cell in value.ravel()]
        return np.array(texts, str).reshape(value.shape)
    if not isinstance(value, np.ndarray) or value.dtype.hasobject:
        raise ValueError(f"{name} holds neither numbers nor text nor cells: it is a {type(value).__name__}")
    return value


def _text(cell: object) -> str:
    whole = isinstance(cell, np.ndarray) and cell.size == 1 and cell.dtype.kind == "U"
    return cell.item() if whole and len(cell.item()) <= _LONGEST_TEXT else ""


def _limit(size: int) -> None:
    """Bounds this process's time, and its memory where the system tells what it has already."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = taken + max(_SMALL, _TIMES * size)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> int:
    """Returns the exit code; 1 with one line on stderr for a file that cannot be read."""
    data = sys.stdin.buffer.read()
    _limit(len(data))
    try:
        found = read_variables(data, sys.argv[1:])
        np.savez(sys.stdout.buffer, **found)
    except Exception as error:  # SciPy raises many kinds for what is no MATLAB file; each means an unreadable one
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
