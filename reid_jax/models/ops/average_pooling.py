"""Mean over a 3x3 window at stride 1."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from reid_jax.models.ops.forms import chosen


def average_pool(x: jax.Array) -> jax.Array:
    """Takes 3x3 means at stride 1, the padding's zeros counted: [n, h, w, c] -> the same shape."""
    return chosen("average_pool", FORMS)(x)


def _plain(x):
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # not by the window: see `max_pooling`
    total = lax.reduce_window(padded, np.zeros((), x.dtype), lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "VALID")
    return total / jnp.asarray(9, x.dtype)


def _by_shifts(x):
    """Three shifted rows, then three shifted columns: XLA's own for a CPU takes one element at a time."""
    n, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :h] + padded[:, 1 : h + 1] + padded[:, 2:]
    return (rows[:, :, :w] + rows[:, :, 1 : w + 1] + rows[:, :, 2:]) / jnp.asarray(9, x.dtype)


FORMS = {"plain": _plain, "shifts": _by_shifts}
