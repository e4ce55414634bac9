"""Channels of several feature maps side by side in one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from reid_jax.models.ops.flat import as_image, fits, flat
from reid_jax.models.ops.forms import chosen


def concatenate(arrays: Sequence[jax.Array]) -> jax.Array:
    """Concatenates [..., c1], [..., c2], ... to [..., c1 + c2 + ...]."""
    return chosen("concatenate", FORMS)(arrays)


def _plain(arrays):
    return jnp.concatenate(arrays, -1)


def _flat(arrays):
    if not fits(arrays[0]):
        return _plain(arrays)
    return as_image(jnp.concatenate([flat(each) for each in arrays], 1), *arrays[0].shape[1:3])


FORMS = {"plain": _plain, "flat": _flat}
