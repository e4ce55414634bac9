"""Convolution blocks: shuffle units (ShuffleNet V2, Ma et al., ECCV 2018) and HA-CNN's inception units.

Layer tables: arXiv 1910.07038, Table 1; the inception units as in the public PyTorch HA-CNN. Activations are
NHWC, in the dtype that `ops.map_dtype` gives for the network's; parameters and BatchNorm statistics are float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reid_jax.models import ops

# Uniform in +-1/sqrt(fan_in), the initialisation that the public HA-CNN was trained from.
kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


# The order of channels where it is not the plain one: channel `order[i]` of the parameters is the i-th of the arrays.
# See `reid_jax.models.chain`.
Order = tuple[int, ...] | None


def _ordered(parameter: jax.Array, order: Order, axis: int = -1) -> jax.Array:
    return parameter if order is None else ops.permute(parameter, order, axis)


class Scaled(NamedTuple):
    """slope * x + offset by channel, not computed yet: `x` [..., c], `slope` and `offset` float32 [c].

    What BatchNorm makes of a map in training, where no ReLU follows. A 1x1 convolution takes the slope into its kernel
    instead, and the BatchNorm behind that one takes the offset away with the mean.
    """

    x: jax.Array
    slope: jax.Array
    offset: jax.Array


class Normalisation(nn.Module):
    """What layers of BatchNorm share: scale, bias and running statistics by channel, in the plain order.

    The running variance is the biased one, as is usual in Flax; PyTorch's is unbiased (a factor n / (n - 1)).
    """

    use_bias: bool = True
    momentum: float = 0.9
    epsilon: float = 1e-5
    order: Order = None

    def in_plain_order(self, statistic: jax.Array) -> jax.Array:
        """Returns a statistic [c] of what this layer reads in the order of its parameters."""
        return statistic if self.order is None else statistic[np.argsort(self.order)]

    def _scale_and_bias(self, features: int) -> tuple[jax.Array, jax.Array]:
        scale = _ordered(self.param("scale", nn.initializers.ones, (features,)), self.order)
        if not self.use_bias:
            return scale, jnp.zeros((features,))
        return scale, _ordered(self.param("bias", nn.initializers.zeros, (features,)), self.order)

    def _running(self, features: int) -> list[nn.Variable]:
        return [
            self.variable("batch_stats", name, first, (features,))
            for name, first in (("mean", jnp.zeros), ("var", jnp.ones))
        ]

    def _move(self, running: list[nn.Variable], of_batch: tuple[jax.Array, jax.Array]) -> None:
        if not self.is_initializing():
            for each, seen in zip(running, of_batch, strict=True):
                seen = self.in_plain_order(jax.lax.stop_gradient(seen))
                each.value = self.momentum * each.value + (1 - self.momentum) * seen


class BatchNorm(Normalisation):
    """BatchNorm over all axes but the last, with an optional ReLU: [..., c] -> [..., c].

    `shift` float32 [c], in the order of `x`, is a bias still to be added to it, or None. Training takes it away again
    with the mean: it is not added, gets no gradient (exactly none, where rounding would leave some) and moves the
    running mean alone.
    `scaled(slope, offset)`, if given, is called for slope * x + offset and ReLU by fixed statistics: `x` is then the
    result of a convolution, which may take both in.
    """

    relu: bool = False

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool,
        shift: jax.Array | None = None,
        scaled: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    ) -> jax.Array:
        scale, bias = self._scale_and_bias(x.shape[-1])
        running = self._running(x.shape[-1])
        if not train:
            centre, variance = (_ordered(each.value, self.order) for each in running)
            slope = scale * jax.lax.rsqrt(variance + self.epsilon)
            if shift is not None:
                centre = centre - shift
            offset = bias - centre * slope
            return ops.normalise(x, slope, offset, self.relu) if scaled is None else scaled(slope, offset)
        y, mean, variance = ops.batch_norm(x, scale, bias, self.relu, self.epsilon)
        self._move(running, (mean if shift is None else mean + shift, variance))
        return y


class BatchScaling(Normalisation):
    """BatchNorm without ReLU that training leaves to the 1x1 convolution behind it: [..., c] -> `Scaled`.

    By fixed statistics it is computed, [..., c] -> [..., c], by `scaled` if given, as in `BatchNorm`: the convolution
    takes it in at no cost, and maps without their mean lose less by being rounded to bfloat16.
    """

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, *, scaled: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    ) -> jax.Array | Scaled:
        scale, bias = self._scale_and_bias(x.shape[-1])
        running = self._running(x.shape[-1])
        if train:
            x, again = ops.share(x)
            mean, variance = ops.batch_statistics(again)
            self._move(running, (mean, variance))
        else:
            mean, variance = (_ordered(each.value, self.order) for each in running)
        slope = scale * jax.lax.rsqrt(variance + self.epsilon)
        offset = bias - mean * slope
        if train:
            return Scaled(x, slope, offset)
        return ops.normalise(x, slope, offset, False) if scaled is None else scaled(slope, offset)


class InstanceNorm(nn.Module):
    """Instance normalisation of the first `share` of the channels, and a ReLU over all if asked for.

    [n, h, w, c] -> [n, h, w, c]. Each of these channels of each image loses its mean over the image and is divided by
    its standard deviation, in training and in inference alike (Ulyanov et al. 2016): what light and colour cast do to a
    whole image goes, and with it some of what tells people apart, which the other channels keep (IBN-Net: Pan et al.,
    ECCV 2018). Computed in float32.
    """

    share: float = 1.0
    relu: bool = False
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = max(1, round(self.share * x.shape[-1]))
        scale = self.param("scale", nn.initializers.ones, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        y = x[..., :features].astype(jnp.float32)
        y = y - jnp.mean(y, (1, 2), keepdims=True)
        variance = jnp.mean(jnp.square(y), (1, 2), keepdims=True)
        y = (y * (scale * jax.lax.rsqrt(variance + self.epsilon)) + bias).astype(x.dtype)
        y = jnp.concatenate([y, x[..., features:]], -1)
        return jax.nn.relu(y) if self.relu else y


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and, unless `relu` is off, ReLU: CBR of the layer table.

    [n, h, w, ci] -> [n, ceil(h / stride), ceil(w / stride), features]; `depthwise` (3x3) needs ci = features. `order`
    is that of the channels that come in; they go out in the plain one, for `depthwise` in the same. A 1x1 convolution
    also takes what a `DepthwiseScaling` returns.
    """

    features: int
    size: int = 1
    stride: int = 1
    depthwise: bool = False
    relu: bool = True
    use_bias: bool = False
    order: Order = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array | Scaled, train: bool) -> jax.Array:
        x, *scaling = x if isinstance(x, Scaled) else (x,)
        inputs = 1 if self.depthwise else x.shape[-1]
        kernel = self.param("kernel", kernel_init, (self.size, self.size, inputs, self.features))
        kernel = _ordered(kernel, self.order, -1 if self.depthwise else 2)
        order = self.order if self.depthwise else None
        x = x.astype(ops.map_dtype(self.dtype))
        shift = None
        if scaling:
            x, kernel, shift = ops.scale_kernel(x, *scaling, kernel)

        def convolve(x, kernel):
            return (ops.depthwise_conv if self.depthwise else ops.conv)(x, kernel, self.stride)

        y = convolve(x, kernel.astype(self.dtype))
        if self.use_bias:
            bias = _ordered(self.param("bias", nn.initializers.zeros, (self.features,)), order)
            shift = bias if shift is None else shift + bias

        def scaled(slope, offset):
            return ops.normalised_conv(convolve, x, kernel, y, slope, offset, self.relu)

        return BatchNorm(relu=self.relu, order=order, name="norm")(y, train, shift, scaled)


class DepthwiseScaling(nn.Module):
    """Depth-wise 3x3 convolution and BatchNorm, CB of the layer table, for a 1x1 `ConvNorm` behind it.

    [n, h, w, c] -> [n, ceil(h / stride), ceil(w / stride), c], in training as `Scaled`. The channels come and go in
    `order`.
    """

    stride: int = 1
    order: Order = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array | Scaled:
        kernel = _ordered(self.param("kernel", kernel_init, (3, 3, 1, x.shape[-1])), self.order)
        x = x.astype(ops.map_dtype(self.dtype))

        def convolve(x, kernel):
            return ops.depthwise_conv(x, kernel, self.stride)

        y = convolve(x, kernel.astype(self.dtype))

        def scaled(slope, offset):
            return ops.normalised_conv(convolve, x, kernel, y, slope, offset, False)

        return BatchScaling(order=self.order, name="norm")(y, train, scaled=scaled)


class ShuffleA(nn.Module):
    """The shuffle unit of stride 1: [n, h, w, c] -> the same shape.

    Splits the channels in two halves, computes on the second, concatenates and shuffles. The networks run their chains
    of such units without the shuffle (`reid_jax.models.chain`), from the same parameters and to the same result.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        kept, x = jnp.split(x, 2, -1)
        return ops.interleave(kept, _branch_of_a(x, train, None, self.dtype))


class ShuffleABranch(nn.Module):
    """What a Shuffle-A computes on half of its channels, for a chain of units: [n, h, w, c / 2] -> the same shape."""

    order: Order = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return _branch_of_a(x, train, self.order, self.dtype)


def _branch_of_a(x: jax.Array, train: bool, order: Order, dtype: jnp.dtype) -> jax.Array:
    half = x.shape[-1]
    x = ConvNorm(half, order=order, dtype=dtype, name="reduce")(x, train)
    x = DepthwiseScaling(dtype=dtype, name="depthwise")(x, train)
    return ConvNorm(half, dtype=dtype, name="expand")(x, train)


class ShuffleB(nn.Module):
    """The shuffle unit without a split: [n, h, w, ci] -> [n, h / s, w / s, features], s being `stride`, 1 or 2.

    Two branches, each on all channels, are concatenated and shuffled.
    """

    features: int
    stride: int = 1
    order: Order = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return ops.interleave(*_branches_of_b(x, train, self.features // 2, self.stride, self.order, self.dtype))


class ShuffleBBranches(nn.Module):
    """The two branches of a Shuffle-B of stride 1, for a chain: [n, h, w, ci] -> twice [n, h, w, features / 2]."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        return _branches_of_b(x, train, self.features // 2, 1, None, self.dtype)


def _branches_of_b(
    x: jax.Array, train: bool, half: int, stride: int, order: Order, dtype: jnp.dtype
) -> tuple[jax.Array, jax.Array]:
    def pointwise(name, order=None):
        return ConvNorm(half, order=order, dtype=dtype, name=name)

    first, second = ops.share(x)
    first = DepthwiseScaling(stride, order, dtype, name="shortcut_depthwise")(first, train)
    first = pointwise("shortcut_expand", order)(first, train)
    second = pointwise("reduce", order)(second, train)
    second = DepthwiseScaling(stride, dtype=dtype, name="depthwise")(second, train)
    return first, pointwise("expand")(second, train)


def _biased(features: int, dtype: jnp.dtype, name: str, size: int = 1, stride: int = 1) -> ConvNorm:
    return ConvNorm(features, size, stride, use_bias=True, dtype=dtype, name=name)


def _reduced(x: jax.Array, streams: int, width: int, train: bool, dtype: jnp.dtype) -> list[jax.Array]:
    """What `streams` 1x1 convolutions make of `x`, each `width` wide: as one, `x` is read once each way."""
    return jnp.split(_biased(streams * width, dtype, "reduce")(x, train), streams, -1)


class InceptionA(nn.Module):
    """HA-CNN's inception unit of stride 1: [n, h, w, ci] -> [n, h, w, features]; its convolutions have a bias.

    Four streams, each a quarter: three times 1x1 and 3x3, and 1x1 after average pooling.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        quarter, dtype = self.features // 4, self.dtype
        streams = [
            _biased(quarter, dtype, f"stream{stream}", 3)(reduced, train)
            for stream, reduced in enumerate(_reduced(x, 3, quarter, train, dtype), 1)
        ]
        streams.append(_biased(quarter, dtype, "stream4")(ops.average_pool(x), train))
        return jnp.concatenate(streams, -1)


class InceptionB(nn.Module):
    """HA-CNN's inception unit of stride 2: [n, h, w, ci] -> [n, h/2, w/2, features]; its convolutions have a bias.

    Two streams of a quarter, 1x1 and one or two 3x3, and one of a half, 1x1 after max pooling.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        quarter, dtype = self.features // 4, self.dtype
        first, second = _reduced(x, 2, quarter, train, dtype)
        second = _biased(quarter, dtype, "stream2_first", 3)(second, train)
        streams = [
            _biased(quarter, dtype, "stream1", 3, 2)(first, train),
            _biased(quarter, dtype, "stream2", 3, 2)(second, train),
            _biased(2 * quarter, dtype, "stream3")(ops.max_pool(x), train),
        ]
        return jnp.concatenate(streams, -1)
