"""Maximum over a 3x3 window at stride 2."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from reid_jax.models.ops import windows
from reid_jax.models.ops.forms import chosen


def max_pool(x: jax.Array) -> jax.Array:
    """Takes 3x3 maxima at stride 2 with padding 1: [n, h, w, c] -> [n, ceil(h / 2), ceil(w / 2), c].

    The first of equal maxima, in row-major order, gets the gradient.
    """
    return chosen("max_pool", FORMS)(x)


def _plain(x):
    low = np.asarray(-np.inf, x.dtype)
    # Padded here, not by the window: an exporter may lose the padding of a pooling, and says nothing.
    padded = lax.pad(x, low, ((0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 0, 0)))
    return lax.reduce_window(padded, low, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")


def _by_shifts(x):
    """The maximum of nine shifted views: XLA's own for a CPU takes one element at a time, its gradient too."""
    return _largest_of_shifts(x, *x.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _largest_of_shifts(x, height, width):
    return functools.reduce(jnp.maximum, _views(x))


def _views(x):
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return windows.shifted_views(lax.optimization_barrier(padded), 2)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _max_pool_forward(x, height, width):
    views = _views(x)
    y = lax.optimization_barrier(functools.reduce(jnp.maximum, views))
    winner = jnp.full(y.shape, len(views) - 1)  # 3 i + j, the window's element that the maximum comes from
    for element in reversed(range(len(views) - 1)):
        winner = jnp.where(views[element] == y, element, winner)
    return y, winner.astype(jnp.int8)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _max_pool_backward(height, width, winner, gradient):
    winner, gradient = windows.with_window_after(winner), windows.with_window_after(gradient)

    def term(i, j, those):
        return jnp.where(winner[those] == 3 * i + j, gradient[those], 0)

    return (windows.input_gradient_at_stride_2(term, height, width),)


_largest_of_shifts.defvjp(_max_pool_forward, _max_pool_backward)

FORMS = {"plain": _plain, "shifts": _by_shifts}
