"""L2 normalisation, one form for all platforms."""

import jax
import jax.numpy as jnp
from jax import lax


def l2_normalise(x: jax.Array, epsilon: float = 1e-24) -> jax.Array:
    """Scales rows [..., d] to unit Euclidean norm; a zero row stays zero and its gradient finite."""
    return x * lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), epsilon))
