"""What a network's dtype means on a platform: that of its matrix products and, but on a CPU, of its maps."""

import jax
import jax.numpy as jnp
from jax import lax

from reid_jax.models.ops.forms import chosen


def map_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """Returns the dtype of the feature maps of a network whose products are taken in `dtype`.

    The same, but on a CPU at least float32: its units multiply bfloat16 matrices and sum in float32, and that is all
    they do in bfloat16. A map of it would be widened wherever it is read, and rounded wherever it is written.
    """
    return chosen("map_dtype", FORMS)(jnp.dtype(dtype))


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the matrix product of `x` [..., ci], rounded to the dtype of `kernel` [ci, co]: [..., co] in `x`'s."""
    contracted = (((x.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(x.astype(kernel.dtype), kernel, contracted, preferred_element_type=x.dtype)


def _plain(dtype):
    return dtype


def _wide(dtype):
    return jnp.promote_types(dtype, jnp.float32)


FORMS = {"plain": _plain, "wide": _wide}
