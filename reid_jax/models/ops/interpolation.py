"""Linear interpolation as a small matrix, and the bilinear resize by one for each axis; one form for all platforms."""

import jax
import jax.numpy as jnp
from jax import lax


def interpolation_matrix(position: jax.Array, size: int) -> jax.Array:
    """Returns the weights of linear interpolation at `position` between `size` samples, zero outside.

    `position` float [..., m] in samples -> [..., m, size]; row i holds max(0, 1 - |position_i - j|). Its
    gradient to the position is that of bilinear sampling (Jaderberg et al., Spatial Transformer Networks, 2015).
    """
    return jnp.maximum(0.0, 1.0 - jnp.abs(position[..., None] - jnp.arange(size, dtype=position.dtype)))


def resize_matrix(target: int, size: int) -> jax.Array:
    """Returns the align-corners linear resize from `size` to `target` samples as a matrix [target, size]."""
    # min(): rounding may put the last position a hair past the last sample, which would lose weight there.
    return interpolation_matrix(jnp.minimum(jnp.linspace(0.0, size - 1.0, target), size - 1.0), size)


def resize(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes bilinearly with aligned corners: [n, h, w, c] -> [n, height, width, c]."""
    rows = resize_matrix(height, x.shape[1]).astype(x.dtype)
    columns = resize_matrix(width, x.shape[2]).astype(x.dtype)
    with jax.named_scope("interpolation"):
        x = jnp.einsum("ph,nhwc->npwc", rows, x, precision=lax.Precision.HIGHEST)
        return jnp.einsum("qw,npwc->npqc", columns, x, precision=lax.Precision.HIGHEST)
