"""A permutation along an axis, one form for all platforms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def permute(x: jax.Array, order: tuple[int, ...], axis: int = -1) -> jax.Array:
    """Takes `x` along `axis` in a permuted `order`; its gradient is the inverse permutation, not a scatter."""
    # The default mode would compare every index with the size, to fill what is outside with NaN.
    return jnp.take(x, np.asarray(order), axis, mode="clip", unique_indices=True)


permute.defvjp(
    lambda x, order, axis: (permute(x, order, axis), None),
    lambda order, axis, _, gradient: (permute(gradient, tuple(np.argsort(order).tolist()), axis),),
)
