"""The array operations under the networks: a file an operation, each with its plain form and its fast ones.

Images are NHWC. Matrix products are taken in the kernel's dtype, which may be narrower than the maps' (`map_dtype`).
Every function is pure and traces under `jit` with a sharded batch. The plain form is what an operation means, in a few
lines of JAX, with the gradients that JAX derives; a fast form computes the same values and gradients, quicker on the
platforms that `forms.TABLE` gives it to. `jax.named_scope` marks what `reid_jax.models.summary` counts. What has a
`jit` of its own is traced once a shape instead of once a layer.
"""

from reid_jax.models.ops.average_pooling import average_pool
from reid_jax.models.ops.batch_normalisation import batch_norm, normalise
from reid_jax.models.ops.batch_statistics import batch_statistics
from reid_jax.models.ops.concatenation import concatenate
from reid_jax.models.ops.convolution import conv
from reid_jax.models.ops.depthwise import depthwise_conv
from reid_jax.models.ops.forms import ANY, traced_for
from reid_jax.models.ops.interleaving import interleave
from reid_jax.models.ops.interpolation import interpolation_matrix, resize, resize_matrix
from reid_jax.models.ops.kept_gradient import keep_gradient
from reid_jax.models.ops.kernel_scaling import scale_kernel
from reid_jax.models.ops.l2 import l2_normalise
from reid_jax.models.ops.max_pooling import max_pool
from reid_jax.models.ops.normalised_convolution import normalised_conv
from reid_jax.models.ops.permutation import permute
from reid_jax.models.ops.pointwise import pointwise_conv
from reid_jax.models.ops.precision import map_dtype
from reid_jax.models.ops.region_crop import crop_regions
from reid_jax.models.ops.sharing import share
from reid_jax.models.ops.splitting import split

__all__ = [
    "ANY",
    "average_pool",
    "batch_norm",
    "batch_statistics",
    "concatenate",
    "conv",
    "crop_regions",
    "depthwise_conv",
    "interleave",
    "interpolation_matrix",
    "keep_gradient",
    "l2_normalise",
    "map_dtype",
    "max_pool",
    "normalise",
    "normalised_conv",
    "permute",
    "pointwise_conv",
    "resize",
    "resize_matrix",
    "scale_kernel",
    "share",
    "split",
    "traced_for",
]
