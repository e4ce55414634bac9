"""Channels of two feature maps, one from each in turn."""

import jax
import jax.numpy as jnp
import numpy as np

from reid_jax.models.ops.concatenation import concatenate
from reid_jax.models.ops.forms import chosen
from reid_jax.models.ops.pointwise import pointwise_conv


def interleave(first: jax.Array, second: jax.Array) -> jax.Array:
    """Concatenates two halves of channels and shuffles them with 2 groups, which interleaves them.

    [..., c] twice -> [..., 2c]: first[0], second[0], first[1], second[1], ...
    """
    return chosen("interleave", FORMS)(first, second)


def _plain(first, second):
    return jnp.stack([first, second], -1).reshape(*first.shape[:-1], -1)


def _product(first, second):
    """A product with a matrix of 0 and 1, where it is exact.

    A TPU's units of products do at once what else turns the map round twice, a copy each time.
    """
    if first.dtype != jnp.bfloat16:  # a product of float32 numbers may round them
        return _plain(first, second)
    c = first.shape[-1]
    source = np.arange(2 * c).reshape(2, c).T.reshape(-1)
    return pointwise_conv(concatenate([first, second]), jnp.asarray(np.eye(2 * c)[:, source], first.dtype))


FORMS = {"plain": _plain, "product": _product}
