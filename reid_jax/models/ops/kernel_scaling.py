"""A slope and an offset of each channel in front of a 1x1 convolution."""

import jax
import jax.numpy as jnp

from reid_jax.models.ops.batch_normalisation import normalise
from reid_jax.models.ops.forms import chosen
from reid_jax.models.ops.kept_gradient import keep_gradient


def scale_kernel(
    x: jax.Array, slope: jax.Array, offset: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Returns (x', kernel', shift) with conv(x', kernel') + shift = conv(slope * x + offset, kernel).

    `x` [..., ci]; `slope`, `offset` float32 [ci]; `kernel` float32 [1, 1, ci, co]; shift float32 [co], or None for 0.
    A BatchNorm behind it takes the shift away with the mean, and need not be told but for its running mean.
    """
    return chosen("scale_kernel", FORMS)(x, slope, offset, kernel)


def _plain(x, slope, offset, kernel):
    return normalise(x, slope, offset, relu=False), kernel, None


def _folded(x, slope, offset, kernel):
    """Scales the kernel, which is small: the map is neither read nor written for it.

    Backward, the slope's gradient then comes from the kernel's, a product that is taken anyway, not from a sum over the
    map.
    """
    # Kept, as a product writes it: XLA for a GPU would have that add the gradient of BatchNorm's statistics, which has
    # then to be written too. A sum in float32, where a product would be taken in less on some platforms.
    return keep_gradient(x), kernel * slope[:, None], jnp.sum(offset[:, None] * kernel[0, 0], 0)


FORMS = {"plain": _plain, "folded": _folded}
