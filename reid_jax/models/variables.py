"""What arrays must be to be a network's variables, whoever wrote them."""

from collections.abc import Callable, Mapping

import numpy as np

from reid_jax.errors import InputError, shown


def require_sound(arrays: Mapping[str, np.ndarray], is_variance: Callable[[str], bool]) -> None:
    """Raises InputError, naming the array, for a number that is not finite and for a variance below 0."""
    for name, array in arrays.items():
        bad = np.count_nonzero(~np.isfinite(array))
        if bad:
            raise InputError(f"array {shown(name)} has {bad:,} of {array.size:,} numbers that are not finite")
        if is_variance(name) and array.min(initial=0) < 0:
            raise InputError(f"array {shown(name)} is a variance, and its least number is {array.min():.4g}")
