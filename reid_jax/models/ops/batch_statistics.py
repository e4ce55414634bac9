"""Mean and variance of a batch, by channel."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from reid_jax.models.ops.flat import fits, flat
from reid_jax.models.ops.forms import chosen
from reid_jax.models.ops.sums import sums


def batch_statistics(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns mean and biased variance of `x` [..., c] over all axes but the last, each float32 [c].

    float32 whatever `x` is, and of the global batch: under `jit` a sharded batch axis is summed across devices.
    """
    return chosen("batch_statistics", FORMS)(x)


def over(wide: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Returns mean and biased variance over `axes`, in one reading of `wide` where var() takes two."""
    mean = jnp.mean(wide, axes)
    return mean, jnp.maximum(jnp.mean(wide * wide, axes) - mean * mean, 0.0)


def of_sums(total: jax.Array, squares: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Returns mean and biased variance of `count` numbers of which the sums of them and of their squares are known."""
    mean = total / count
    return mean, jnp.maximum(squares / count - mean * mean, 0.0)


def sums_in_runs(first: jax.Array, second: jax.Array) -> list[jax.Array]:
    """Sums two float32 arrays [..., c] over all but the channels, as suits a CPU."""
    # As few at a time as a CPU's compiler unrolls, so that both sums take one reading; within an image, which no two
    # devices share.
    c = first.shape[-1]
    run = math.gcd(math.prod(first.shape[1:-1]), 8)
    by_run = sums([first.reshape(-1, run, c), second.reshape(-1, run, c)], (1,))
    return [runs.sum(0) for runs in lax.optimization_barrier(by_run)]


def sums_in_pairs(first: jax.Array, second: jax.Array) -> list[jax.Array]:
    """The same, as suits a GPU: XLA fuses what the two arrays are made from into one reduction of the pair."""
    return sums([first, second], tuple(range(first.ndim - 1)))


def _plain(x):
    return over(x.astype(jnp.float32), tuple(range(x.ndim - 1)))


def _flat(x):
    return over(flat(x).astype(jnp.float32), (0, 2)) if fits(x) else _plain(x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _by_two_sums(x, channel_sums):
    """The sums of x and x^2; with N elements a channel the gradient to x is dm / N + 2 (x - mean) dv / N."""
    return _forward(x, channel_sums)[0]


@functools.partial(jax.jit, static_argnums=1)
def _forward(x, channel_sums):
    x = lax.optimization_barrier(x)  # keep x: recomputing it for the sums costs more
    wide = x.astype(jnp.float32)
    mean, variance = of_sums(*channel_sums(wide, wide * wide), x.size // x.shape[-1])
    return (mean, variance), (x, mean)


@functools.partial(jax.jit, static_argnums=0)
def _backward(channel_sums, saved, gradients):
    x, mean = saved
    count = x.size // x.shape[-1]
    to_mean, to_variance = gradients
    pull = 2 * to_variance / count
    return ((pull * x.astype(jnp.float32) + (to_mean / count - pull * mean)).astype(x.dtype),)


_by_two_sums.defvjp(_forward, _backward)


def _summed_by(channel_sums):
    return lambda x: _by_two_sums(x, channel_sums)


FORMS = {"plain": _plain, "flat": _flat, "runs": _summed_by(sums_in_runs), "pairs": _summed_by(sums_in_pairs)}
