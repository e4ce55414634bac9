"""Convolution blocks: shuffle units (ShuffleNet V2, Ma et al., ECCV 2018) and HA-CNN's inception units.

Layer tables: arXiv 1910.07038, Table 1; the inception units as in the public PyTorch HA-CNN. Activations are
NHWC in the compute dtype; parameters and BatchNorm statistics are float32.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from reid_jax.models import ops

# Uniform in +-1/sqrt(fan_in), the initialisation that the public HA-CNN was trained from.
kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class BatchNorm(nn.Module):
    """BatchNorm over all axes but the last, with an optional ReLU: [..., c] -> [..., c].

    The running variance is the biased one, as is usual in Flax; PyTorch's is unbiased (a factor n / (n - 1)).
    """

    relu: bool = False
    use_bias: bool = True
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,))
        bias = jnp.zeros((features,))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (features,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        variance = self.variable("batch_stats", "var", jnp.ones, (features,))
        if not train:
            slope = scale * jax.lax.rsqrt(variance.value + self.epsilon)
            return ops.normalise(x, slope, bias - mean.value * slope, self.relu)
        y, batch_mean, batch_variance = ops.batch_norm(x, scale, bias, self.relu, self.epsilon)
        if not self.is_initializing():
            keep = self.momentum
            mean.value = keep * mean.value + (1 - keep) * jax.lax.stop_gradient(batch_mean)
            variance.value = keep * variance.value + (1 - keep) * jax.lax.stop_gradient(batch_variance)
        return y


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and, unless `relu` is off, ReLU: CBR and CB of the layer table.

    [n, h, w, ci] -> [n, ceil(h / stride), ceil(w / stride), features]; `depthwise` (3x3) needs ci = features.
    """

    features: int
    size: int = 1
    stride: int = 1
    depthwise: bool = False
    relu: bool = True
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        inputs = 1 if self.depthwise else x.shape[-1]
        kernel = self.param("kernel", kernel_init, (self.size, self.size, inputs, self.features))
        kernel = kernel.astype(self.dtype)
        x = x.astype(self.dtype)
        convolve = ops.depthwise_conv if self.depthwise else ops.conv
        x = convolve(x, kernel, self.stride)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return BatchNorm(relu=self.relu, name="norm")(x, train)


def channel_shuffle(first: jax.Array, second: jax.Array) -> jax.Array:
    """Interleaves two halves of channels: the concatenation followed by a channel shuffle of 2 groups."""
    return jnp.stack([first, second], -1).reshape(*first.shape[:-1], -1)


class ShuffleA(nn.Module):
    """Shuffle unit of stride 1 that keeps half of its channels untouched: [n, h, w, c] -> [n, h, w, c]."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        half = x.shape[-1] // 2
        kept, y = x[..., :half], x[..., half:]
        y = ConvNorm(half, dtype=self.dtype, name="reduce")(y, train)
        y = ConvNorm(half, 3, depthwise=True, relu=False, dtype=self.dtype, name="depthwise")(y, train)
        y = ConvNorm(half, dtype=self.dtype, name="expand")(y, train)
        return channel_shuffle(kept, y)


class ShuffleB(nn.Module):
    """Shuffle unit without a split, both branches reading all channels: [n, h, w, ci] -> [n, h/s, w/s, features]."""

    features: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        half, inputs = self.features // 2, x.shape[-1]

        def depthwise(features, name):
            return ConvNorm(features, 3, self.stride, depthwise=True, relu=False, dtype=self.dtype, name=name)

        first = depthwise(inputs, "shortcut_depthwise")(x, train)
        first = ConvNorm(half, dtype=self.dtype, name="shortcut_expand")(first, train)
        second = ConvNorm(half, dtype=self.dtype, name="reduce")(x, train)
        second = depthwise(half, "depthwise")(second, train)
        second = ConvNorm(half, dtype=self.dtype, name="expand")(second, train)
        return channel_shuffle(first, second)


class _ConvChain(nn.Module):
    """A chain of biased CBRs given as (size, stride) pairs, `features` wide throughout."""

    features: int
    layers: Sequence[tuple[int, int]]
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train):
        for number, (size, stride) in enumerate(self.layers, 1):
            block = ConvNorm(self.features, size, stride, use_bias=True, dtype=self.dtype, name=f"conv{number}")
            x = block(x, train)
        return x


class InceptionA(nn.Module):
    """HA-CNN's inception unit of stride 1: [n, h, w, ci] -> [n, h, w, features]; its convolutions have a bias."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        def stream(number, *layers):
            return _ConvChain(self.features // 4, layers, self.dtype, name=f"stream{number}")

        streams = [stream(number, (1, 1), (3, 1))(x, train) for number in (1, 2, 3)]
        streams.append(stream(4, (1, 1))(ops.average_pool(x), train))
        return jnp.concatenate(streams, -1)


class InceptionB(nn.Module):
    """HA-CNN's inception unit of stride 2: [n, h, w, ci] -> [n, h/2, w/2, features]; its convolutions have a bias."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        quarter = self.features // 4
        streams = [
            _ConvChain(quarter, ((1, 1), (3, 2)), self.dtype, name="stream1")(x, train),
            _ConvChain(quarter, ((1, 1), (3, 1), (3, 2)), self.dtype, name="stream2")(x, train),
            _ConvChain(2 * quarter, ((1, 1),), self.dtype, name="stream3")(ops.max_pool(x), train),
        ]
        return jnp.concatenate(streams, -1)
