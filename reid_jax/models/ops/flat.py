"""Feature maps with their pixels in a TPU's lanes: [n, c, h w] in place of [n, h, w, c].

A TPU's registers, and rows of its memory, are 128 numbers wide. With the channels there, 16 to 96 of them leave a
quarter to seven eighths of every row empty, and what is empty is read and written all the same. The pixels of a map
fill the rows, and channels then stand one below the other, where a slice of them is a few whole rows.

A form takes a map apart as it begins and puts it together as it ends. Between two forms that both do, XLA takes the two
steps for what they are: none.
"""

import math

import jax
import jax.numpy as jnp

from reid_jax.models.ops.forms import images_on_a_device

LANES = 128
_SUBLANES = 8  # rows of a register
_MOST_TOGETHER = 4


def fits(x: jax.Array) -> bool:
    """Whether the pixels of `x` [n, h, w, c] fill rows of 128; an array of another rank has none."""
    return x.ndim == 4 and x.shape[1] * x.shape[2] % LANES == 0


def together(images: int, channels: int) -> int:
    """How many images stand together, that their channels make up to 128: a power of two that divides `images`.

    At most 4, and so few that a device still has 8 of such groups: a convolution of fewer has its registers' rows left
    empty.
    """
    most = min(LANES // channels, _MOST_TOGETHER, images_on_a_device(images) // _SUBLANES)
    return math.gcd(images, 1 << max(0, most.bit_length() - 1))


def flat(x: jax.Array, group: int = 1) -> jax.Array:
    """Lays [n, h, w, c] out as [n / group, group c, h w], the channels of one image behind those of the other."""
    n, h, w, c = x.shape
    return jnp.swapaxes(x.reshape(n, h * w, c), 1, 2).reshape(n // group, group * c, h * w)


def as_image(x: jax.Array, height: int, width: int, group: int = 1) -> jax.Array:
    """Lays [n / group, group c, height width] out as [n, height, width, c]."""
    x = x.reshape(x.shape[0] * group, x.shape[1] // group, height * width)
    return jnp.swapaxes(x, 1, 2).reshape(len(x), height, width, -1)
