"""Several sums in one reduction."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax


def sums(arrays: Sequence[jax.Array], axes: tuple[int, ...]) -> list[jax.Array]:
    """Sums float32 arrays of one shape over `axes` in one reduction with as many results.

    What the arrays are made from is read once for all of them, where a compiler fuses that into the reduction.
    """
    zeros = [jnp.zeros((), jnp.float32)] * len(arrays)
    return lax.reduce(list(arrays), zeros, lambda left, right: [a + b for a, b in zip(left, right, strict=True)], axes)
