"""One variable out of a MATLAB file of version 5 to 7, which SciPy reads."""

import io

import numpy as np
import scipy.io

from reid_jax.data.builders.files import FileTree
from reid_jax.errors import InputError


def read_mat(tree: FileTree, name: str, variables: tuple[str, ...], advice: str) -> dict[str, np.ndarray]:
    """The named variables, each as SciPy gives it: numbers in 2-D arrays, cells in arrays of objects.

    Raises:
      InputError: the file is missing, is no such file, or lacks a variable; `advice` ends the message.
    """
    if not tree.has_file(name):
        raise InputError(f"{tree.location(name)} is missing; {advice}")
    try:
        content = scipy.io.loadmat(io.BytesIO(tree.read(name)), variable_names=variables)
    except InputError:
        raise
    except Exception as error:  # SciPy raises many kinds for what is no MATLAB file; each means an unreadable one
        raise InputError(f"{tree.location(name)} cannot be read as a MATLAB file ({error}); {advice}") from error
    missing = [variable for variable in variables if variable not in content]
    if missing:
        raise InputError(f"{tree.location(name)} has no variable {' and no '.join(missing)}; {advice}")
    return {variable: content[variable] for variable in variables}


def whole_numbers(values: np.ndarray, where: str, advice: str) -> np.ndarray:
    """A variable as int64; raises InputError where it holds anything but whole numbers."""
    if values.dtype.kind not in "iuf" or not np.array_equal(values, np.floor(values)):
        raise InputError(f"{where} holds something other than whole numbers; {advice}")
    return values.astype(np.int64)
