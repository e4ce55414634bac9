"""What the operations with a 3x3 window and padding 1 share: its nine shifted views, and the way back at stride 2.

At stride s output (p, q) reads the input at (s p + i - 1, s q + j - 1), for i and j from 0 to 2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def padded(x: jax.Array) -> jax.Array:
    """Pads [n, h, w, c] with a pixel of zeros all round, in memory.

    What reads each element nine times should not check each time whether it lies within the image.
    """
    return lax.optimization_barrier(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))


def shifted_views(padded_input: jax.Array, stride: int) -> list[jax.Array]:
    """Returns the nine views of a padded input that the window's elements read, in row-major order.

    View 3 i + j holds at (p, q) the element (s p + i, s q + j) of the padded input [n, h + 2, w + 2, c].
    """
    n, h, w, c = padded_input.shape
    return [
        lax.slice(padded_input, (0, i, j, 0), (n, h - 2 + i, w - 2 + j, c), (1, stride, stride, 1))
        for i in range(3)
        for j in range(3)
    ]


def spread(gradient: jax.Array, stride: int, height: int, width: int) -> jax.Array:
    """Spreads a strided convolution's output gradient over the grid of its input, zeros between."""
    if stride == 1:
        return gradient
    out_h, out_w = gradient.shape[1:3]
    trail_h, trail_w = height - stride * (out_h - 1) - 1, width - stride * (out_w - 1) - 1
    return lax.pad(
        gradient,
        jnp.zeros((), gradient.dtype),
        ((0, 0, 0), (0, trail_h, stride - 1), (0, trail_w, stride - 1), (0, 0, 0)),
    )


def with_window_after(x: jax.Array) -> jax.Array:
    """Adds a row and a column of zeros after an array [n, p, q, c] of one element a window: windows without effect."""
    return jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))


def input_gradient_at_stride_2(
    term: Callable[[int, int, tuple[slice, ...]], jax.Array], height: int, width: int
) -> jax.Array:
    """Sums over the windows that read an input element, at stride 2: the input's gradient [n, height, width, c].

    Rows, and columns likewise, are read by the windows' elements i as follows:

        input row    -1   0   1   2   3   4   5
        window 0      0   1   2
        window 1              0   1   2
        window 2                      0   1   2

    Row 2 a is read by window a alone, in the middle (i = 1); row 2 a + 1 by the end of window a (i = 2) and the
    beginning of window a + 1 (i = 0). So the gradient is four arrays [n, p, q, c], for even and odd rows and columns,
    each a sum of one, two or four terms, which are then interleaved.

    `term(i, j, windows)` returns what the windows' element (i, j) hands back; `windows` indexes an array
    `with_window_after` so that entry (a, b) is window (a, b) or the next one down, across, or both.
    """
    these, next_ones = slice(None, -1), slice(1, None)
    even, odd = [(1, these)], [(2, these), (0, next_ones)]
    quarters = [
        [
            sum(term(i, j, np.s_[:, rows, columns]) for i, rows in down for j, columns in across)
            for across in (even, odd)
        ]
        for down in (even, odd)
    ]
    (n, h, w, c), quarters = quarters[0][0].shape, lax.optimization_barrier(quarters)
    rows = [jnp.stack(pair, 3).reshape(n, h, 2 * w, c) for pair in quarters]
    return jnp.stack(rows, 2).reshape(n, 2 * h, 2 * w, c)[:, :height, :width]
