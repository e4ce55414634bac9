"""BatchNorm by the batch's own statistics, and by fixed ones, each with an optional ReLU."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from reid_jax.models.ops.batch_statistics import of_sums, over, sums_in_pairs, sums_in_runs
from reid_jax.models.ops.flat import as_image, fits, flat
from reid_jax.models.ops.forms import chosen


def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, relu: bool, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises by the batch's own statistics, then applies ReLU if asked.

    `x` [..., c], `scale` and `bias` float32 [c] -> (y like `x`, mean float32 [c], biased variance float32 [c]) with
    y = (x - mean) / sqrt(variance + epsilon) * scale + bias. No gradient flows through the two statistics returned.
    Statistics are float32 whatever `x` is, and those of the global batch: under `jit` a sharded batch axis is summed
    across devices.
    """
    return chosen("batch_norm", FORMS)(x, scale, bias, relu, epsilon)


@functools.partial(jax.jit, static_argnums=3)
def normalise(x: jax.Array, slope: jax.Array, offset: jax.Array, relu: bool) -> jax.Array:
    """Returns slope * x + offset per channel in `x`'s dtype, with ReLU if asked: BatchNorm with fixed statistics."""
    with jax.named_scope("batch_norm"):
        y = (x * slope + offset).astype(x.dtype)
    if relu:
        with jax.named_scope("relu"):
            y = jnp.maximum(y, 0)
    return y


def _plain(x, scale, bias, relu, epsilon):
    return _by_definition(x, scale, bias, relu, epsilon, ())


def _flat(x, scale, bias, relu, epsilon):
    if not fits(x):
        return _plain(x, scale, bias, relu, epsilon)
    y, mean, variance = _by_definition(flat(x), scale, bias, relu, epsilon, (1,))
    return as_image(y, *x.shape[1:3]), mean, variance


def _by_definition(x, scale, bias, relu, epsilon, behind):
    """Of `x` whose channels have as many axes behind them as `behind` has ones."""
    channels = x.ndim - 1 - len(behind)
    wide = x.astype(jnp.float32)
    mean, variance = over(wide, tuple(axis for axis in range(x.ndim) if axis != channels))
    centre, slope, offset = (each.reshape(-1, *behind) for each in (mean, scale * lax.rsqrt(variance + epsilon), bias))
    y = ((wide - centre) * slope + offset).astype(x.dtype)
    return jax.nn.relu(y) if relu else y, lax.stop_gradient(mean), lax.stop_gradient(variance)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _by_two_sums(x, scale, bias, relu, epsilon, channel_sums):
    """Two sums over the batch each way: of x and x^2; of the output's gradient g (where the ReLU let it pass) and g x.

    With slope = scale / sqrt(variance + epsilon), N elements a channel, db = sum(g) and
    ds = (sum(g x) - mean db) / sqrt(variance + epsilon), the gradients are ds to the scale, db to the bias and
    slope (g - db / N) - slope (x - mean) ds / (N sqrt(variance + epsilon)) to x.

    `channel_sums` takes two float32 arrays [..., c] and returns the sum of each over all but the channels, in the way
    that suits a platform.
    """
    return _batch_norm_forward(x, scale, bias, relu, epsilon, channel_sums)[0]


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _batch_norm_forward(x, scale, bias, relu, epsilon, channel_sums):
    x = lax.optimization_barrier(x)  # keep x: recomputing it inside both sums and the output costs more
    wide = x.astype(jnp.float32)
    mean, variance = of_sums(*channel_sums(wide, wide * wide), x.size // x.shape[-1])
    inverse = lax.rsqrt(variance + epsilon)
    y = normalise(x, scale * inverse, bias - mean * scale * inverse, relu)
    return (y, mean, variance), (x, y if relu else None, mean, inverse, scale)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _batch_norm_backward(relu, epsilon, channel_sums, saved, gradients):
    x, y, mean, inverse, scale = saved
    gradient = lax.optimization_barrier(gradients[0])  # else made anew by all that read it below
    count = x.size // x.shape[-1]
    if relu:
        gradient = jnp.where(y > 0, gradient, 0)
    wide_gradient, wide = gradient.astype(jnp.float32), x.astype(jnp.float32)
    bias_gradient, product = channel_sums(wide_gradient, wide_gradient * wide)
    scale_gradient = inverse * (product - mean * bias_gradient)
    slope = scale * inverse
    pull = slope * inverse * scale_gradient / count
    x_gradient = slope * wide_gradient - pull * wide + (pull * mean - slope * bias_gradient / count)
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient


_by_two_sums.defvjp(_batch_norm_forward, _batch_norm_backward)


def _summed_by(channel_sums):
    return lambda x, scale, bias, relu, epsilon: _by_two_sums(x, scale, bias, relu, epsilon, channel_sums)


FORMS = {"plain": _plain, "flat": _flat, "runs": _summed_by(sums_in_runs), "pairs": _summed_by(sums_in_pairs)}
