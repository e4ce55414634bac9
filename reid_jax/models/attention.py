"""Harmonious attention (HA-CNN: Li, Zhu, Gong, CVPR 2018): a soft map of pixels and channels, and hard regions.

The regions' number, size and scale are fields of `attention_network.AttentionNetwork`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from reid_jax.models import ops
from reid_jax.models.blocks import ConvNorm


class SoftAttention(nn.Module):
    """Spatial times channel attention: [n, h, w, c] -> map [n, h, w, c] in [0.5, 1), since a ReLU feeds the sigmoid.

    `h` and `w` must be even: the spatial part is halved and enlarged again.
    """

    reduction: int = 16
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1]

        def block(features, name, **options):
            return ConvNorm(features, use_bias=self.use_bias, dtype=self.dtype, name=name, **options)

        spatial = jnp.mean(x, -1, keepdims=True, dtype=jnp.float32).astype(x.dtype)
        # One channel in and out: the depth-wise form computes the same and is the fast one.
        spatial = block(1, "spatial_conv", size=3, stride=2, depthwise=True)(spatial, train)
        spatial = ops.resize(spatial, 2 * spatial.shape[1], 2 * spatial.shape[2])
        spatial = block(1, "spatial_scale")(spatial, train)

        channel = jnp.mean(x, (1, 2), keepdims=True, dtype=jnp.float32).astype(x.dtype)
        channel = block(channels // self.reduction, "channel_reduce")(channel, train)
        channel = block(channels, "channel_expand")(channel, train)

        return nn.sigmoid(block(channels, "combine")(spatial * channel, train))


class HardAttention(nn.Module):
    """Region centres from the pooled features: [n, h, w, c] -> float32 [n, regions, 2] as (tx, ty) in (-1, 1).

    Before the tanh the first centres lie evenly from head to feet: of four at ty = -.75, -.25, .25, .75, after it at
    -.635, -.245, .245, .635; tx = 0.
    """

    regions: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def first_centres(key, shape, dtype=jnp.float32):
            return jnp.asarray([(0.0, (2 * i + 1) / self.regions - 1) for i in range(self.regions)], dtype).reshape(-1)

        pooled = jnp.mean(x, (1, 2), dtype=jnp.float32)
        linear = nn.Dense(2 * self.regions, kernel_init=nn.initializers.zeros, bias_init=first_centres, name="linear")
        return jnp.tanh(linear(pooled)).reshape(-1, self.regions, 2)


class HarmoniousAttention(nn.Module):
    """Both attentions on one feature map [n, h, w, c]: (soft map [n, h, w, c], region centres [n, regions, 2]).

    The centres are None where there are 0 regions. Both are sown into 'intermediates' as `soft_map` and
    `region_centres`, for `reid_jax.models.attention_maps`; nothing is kept where that collection is not asked for.
    """

    regions: int
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array | None]:
        soft = SoftAttention(use_bias=self.use_bias, dtype=self.dtype, name="soft")(x, train)
        centres = HardAttention(self.regions, name="hard")(x) if self.regions else None
        self.sow("intermediates", "soft_map", soft)
        if self.regions:
            self.sow("intermediates", "region_centres", centres)
        return soft, centres
