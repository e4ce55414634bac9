"""Variables out of a MATLAB file of version 5 to 7, which SciPy reads, in a process that may crash."""

import functools
import io
import os
import signal
import subprocess
import sys

import numpy as np

from reid_jax.data.builders import matlab_reader
from reid_jax.data.builders.files import FileTree
from reid_jax.errors import InputError, shown

_LARGEST = 2**53 - 1  # up to which MATLAB's numbers are exact


def read_mat(tree: FileTree, name: str, variables: tuple[str, ...], advice: str) -> dict[str, np.ndarray]:
    """The named variables, each 2-D or more: numbers as SciPy gives them, cells as text ('' for what is no text).

    Raises:
      InputError: the file is missing, is no such file, takes far more memory than its size, or lacks a variable;
        `advice` ends the message.
    """
    if not tree.has_file(name):
        raise InputError(f"{tree.location(name)} is missing; {advice}")
    try:
        content = _read(tree.read(name), variables)
    except _UnreadableError as error:
        raise InputError(f"{tree.location(name)} cannot be read as a MATLAB file ({error}); {advice}") from error
    missing = [variable for variable in variables if variable not in content]
    if missing:
        raise InputError(f"{tree.location(name)} has no variable {' and no '.join(missing)}; {advice}")
    return content


class _UnreadableError(Exception):
    """Why a file's bytes are no MATLAB file."""


@functools.lru_cache(maxsize=8)  # the splits of a data set read the same few files
def _read(data: bytes, variables: tuple[str, ...]) -> dict[str, np.ndarray]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OPENBLAS_NUM_THREADS": "1",  # each thread would take room that the reader's limit counts
    }
    # -P: this folder's modules must not stand before the library's.
    command = [sys.executable, "-P", "-W", "ignore", matlab_reader.__file__, *variables]
    done = subprocess.run(command, input=data, capture_output=True, env=environment, check=False)
    if done.returncode < 0:
        raise _UnreadableError(f"its reader ended with {signal.Signals(-done.returncode).name}")
    if done.returncode:
        raise _UnreadableError(shown(done.stderr.decode(errors="replace").strip().rpartition("\n")[2]))
    with np.load(io.BytesIO(done.stdout)) as content:
        arrays = {variable: content[variable] for variable in variables if variable in content}
    for array in arrays.values():
        array.setflags(write=False)  # the next call returns the same arrays
    return arrays


def whole_numbers(values: np.ndarray, where: str, advice: str) -> np.ndarray:
    """A variable as int64; raises InputError where it holds anything but whole numbers below 2^53."""
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and np.array_equal(values, np.floor(values)))
    if not whole or (values.size and np.abs(values.astype(np.float64)).max() > _LARGEST):
        raise InputError(f"{where} holds something other than whole numbers below 2^53; {advice}")
    return values.astype(np.int64)
