"""Crops of regions by a spatial transformer, one form for all platforms."""

import jax
import jax.numpy as jnp
from jax import lax

from reid_jax.models.ops.interpolation import interpolation_matrix, resize_matrix


def crop_regions(
    x: jax.Array, centre: jax.Array, height: int, width: int, scale: float = 0.25, align_corners: bool = True
) -> jax.Array:
    """Crops regions of full width and a `scale` part of the height by a spatial transformer.

    `x` [n, h, w, c], `centre` float32 [n, r, 2] as (tx, ty) with -1 and 1 the image's edges ->
    [n * r, height, width, c]. theta = [[1, 0, tx], [0, scale, ty]]; bilinear, zero outside, sampled at the
    source's resolution and then resized with aligned corners, as HA-CNN does (Li et al., CVPR 2018). With
    scale and translation only, sampling is separable: two small matrix products. `align_corners=False` samples
    on the half-pixel grid, as PyTorch's `grid_sample` does since 1.3.
    """
    n, h, w, c = x.shape
    with jax.named_scope("interpolation"):
        rows = _crop_matrix(centre[..., 1], scale, h, height, align_corners).astype(x.dtype)
        columns = _crop_matrix(centre[..., 0], 1.0, w, width, align_corners).astype(x.dtype)
        regions = jnp.einsum("nrph,nhwc->nrpwc", rows, x, precision=lax.Precision.HIGHEST)
        # A matrix for each row of a region: with one for all, both directions would transpose the rows in memory.
        columns = jnp.broadcast_to(columns[:, :, None], (*columns.shape[:2], height, *columns.shape[2:]))
        regions = jnp.einsum("nrpqw,nrpwc->nrpqc", columns, regions, precision=lax.Precision.HIGHEST)
    return regions.reshape(-1, height, width, c)


def _crop_matrix(centre, scale, size, target, align_corners):
    """Crop along one axis at the source's resolution, then resize: `centre` [...] -> [..., target, size]."""
    grid = jnp.linspace(-1.0, 1.0, size)
    if align_corners:
        position = (scale * grid + centre[..., None] + 1.0) / 2.0 * (size - 1)
    else:
        position = ((scale * grid * (size - 1) / size + centre[..., None] + 1.0) * size - 1.0) / 2.0
    return jnp.einsum(
        "ts,...sk->...tk",
        resize_matrix(target, size),
        interpolation_matrix(position, size),
        precision=lax.Precision.HIGHEST,
    )
