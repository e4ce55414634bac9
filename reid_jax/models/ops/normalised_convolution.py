"""A convolution with BatchNorm by fixed statistics behind it: inference."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from reid_jax.models.ops.batch_normalisation import normalise
from reid_jax.models.ops.flat import as_image, fits, flat
from reid_jax.models.ops.forms import chosen


def normalised_conv(
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array,
    kernel: jax.Array,
    y: jax.Array,
    slope: jax.Array,
    offset: jax.Array,
    relu: bool,
) -> jax.Array:
    """Returns slope * y + offset per channel in `x`'s dtype, with ReLU if asked, for y = convolve(x, kernel).

    `kernel` [..., c] is float32 and convolved in `x`'s dtype; `slope` and `offset` are float32 [c]. Given is `y` too,
    [n, h, w, c], which costs nothing where it is not used.
    """
    return chosen("normalised_conv", FORMS)(convolve, x, kernel, y, slope, offset, relu)


def _plain(convolve, x, kernel, y, slope, offset, relu):
    return normalise(y, slope, offset, relu)


def _folded(convolve, x, kernel, y, slope, offset, relu):
    """Convolves with slope * kernel: what is left, an offset and ReLU, GPU libraries add to a product as they write it.

    That the offset is rounded to `x`'s dtype costs no more than rounding the result.
    """
    with jax.named_scope("batch_norm"):
        y = convolve(x, (kernel * slope).astype(x.dtype)) + offset.astype(x.dtype)
    if relu:
        with jax.named_scope("relu"):
            y = jnp.maximum(y, 0)
    return y


def _flat(convolve, x, kernel, y, slope, offset, relu):
    """The same, for a TPU: what is left, XLA adds to a product there too."""
    if not fits(y):
        return _folded(convolve, x, kernel, y, slope, offset, relu)
    with jax.named_scope("batch_norm"):
        z = flat(convolve(x, (kernel * slope).astype(x.dtype))) + offset.astype(x.dtype)[:, None]
    if relu:
        with jax.named_scope("relu"):
            z = jnp.maximum(z, 0)
    return as_image(z, *y.shape[1:3])


FORMS = {"plain": _plain, "folded": _folded, "flat": _flat}
