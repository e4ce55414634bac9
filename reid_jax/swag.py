"""SWA and SWAG: moments of the weights that a run visits, their mean, and samples around it. Pure, on any pytree.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018; Maddox et al., "A Simple
Baseline for Bayesian Uncertainty in Deep Learning", NeurIPS 2019. Averaged or sampled weights need BatchNorm statistics
of their own: see `reid_jax.averaging.batch_statistics`.

Example:
  moments = swag.init(params)
  for params in visited:
      moments = swag.collect(moments, params)
  params = swag.sample(moments, jax.random.key(0))
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp

from reid_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    """How weights are collected and sampled.

    `rank`: deviations kept for the low-rank term, 0 for none; `samples` drawn, from `seed`; `scale` and
    `variance_floor` as in `sample`.
    """

    rank: int
    samples: int
    seed: int
    scale: float
    variance_floor: float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Moments:
    """A pytree: how many weights were collected (int32 scalar), their mean and variance, the last deviations.

    `mean` and `variance` are float32 trees like the parameters, whatever the parameters' dtype; `deviations` has leaves
    [rank, ...], or is None for the diagonal alone. Two more copies of the parameters, and `rank` more with deviations.
    """

    count: jax.Array
    mean: Any
    variance: Any
    deviations: Any = None


def init(params: Any, rank: int = 0) -> Moments:
    """Returns the moments of no weights yet; `rank` deviations are kept for the low-rank term, 0 for none.

    Raises InputError for a rank of 1, which spans no covariance, or below 0.
    """
    if rank < 0 or rank == 1:
        raise InputError(f"SWAG's rank is {rank}; give 0 for the diagonal alone, or at least 2 deviations")

    def zeros(*leading: int) -> Any:  # anew each time: a buffer that stands in a state twice cannot be donated
        return jax.tree.map(lambda x: jnp.zeros((*leading, *jnp.shape(x)), jnp.float32), params)

    return Moments(jnp.zeros((), jnp.int32), zeros(), zeros(), zeros(rank) if rank else None)


def collect(moments: Moments, params: Any) -> Moments:
    """Returns the moments with one more weight vector.

    Welford's running mean and (biased) variance: the same numbers as mean and E[x^2] - mean^2, without the cancellation
    that would swallow float32's small variances. The deviation is from the mean with this weight in it, as in SWAG.
    """
    count = moments.count + 1
    share = 1.0 / count.astype(jnp.float32)
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    mean = jax.tree.map(lambda m, x: m + (x - m) * share, moments.mean, x)
    variance = jax.tree.map(
        lambda v, before, after, x: v + ((x - before) * (x - after) - v) * share,
        moments.variance,
        moments.mean,
        mean,
        x,
    )
    deviations = moments.deviations
    if deviations is not None:

        def replace_oldest(columns, x, m):
            return columns.at[moments.count % len(columns)].set(x - m)

        deviations = jax.tree.map(replace_oldest, deviations, x, mean)
    return Moments(count, mean, variance, deviations)


def mean(moments: Moments) -> Any:
    """Returns the mean of the collected weights, float32: SWA. Raises InputError where none were collected."""
    _require_some(moments)
    return moments.mean


def sample(moments: Moments, key: jax.Array, scale: float = 1.0, variance_floor: float = 1e-30) -> Any:
    """Draws weights, float32, from the Gaussian of the collected ones.

    With z1 and z2 standard normal, std = sqrt(max(variance, variance_floor)), and the K deviations collected so far as
    the columns of D:

      diagonal:         mean + sqrt(scale) * std * z1
      with deviations:  mean + sqrt(scale / 2) * (std * z1 + D z2 / sqrt(K - 1))

    After one weight vector the sample is that weight vector, but for the floor.

    `scale` is a factor on the paper's covariance, (diag(std^2) + D D^T / (K - 1)) / 2 with deviations, diag(std^2)
    without. The authors' code (wjmaddox/swa_gaussian, `sample` with `cov=True`) leaves the half out, mean + sqrt(scale)
    * (std * z1 + D z2 / sqrt(K - 1)): at one scale its samples have twice the variance of these, and its scale=0.5 is
    scale=1 here. Without deviations the two agree. (Its K counts the deviations there is room for, and its `block=True`
    multiplies the deviation, not the variance, by `scale`.)

    Raises InputError where no weights were collected (under `jit`, where that cannot be seen, the sample is NaN), or
    the scale is negative.
    """
    _require_some(moments)
    if not isinstance(scale, jax.core.Tracer) and scale < 0:
        raise InputError(f"SWAG's scale is {scale}; give 0 or more")
    defined = jnp.where(moments.count > 0, 1.0, jnp.nan)
    leaves, structure = jax.tree.flatten(moments.mean)
    variances = jax.tree.leaves(moments.variance)
    sizes = [leaf.size for leaf in leaves]
    # One draw for all: a draw for each leaf takes XLA four times as long to compile.
    ends = itertools.accumulate(sizes)
    z = jax.random.normal(jax.random.fold_in(key, 0), (sum(sizes),))
    diagonal = [
        jnp.sqrt(jnp.maximum(v, variance_floor)) * z[end - size : end].reshape(v.shape)
        for v, size, end in zip(variances, sizes, ends, strict=True)
    ]
    if moments.deviations is None:
        drawn = [m + jnp.sqrt(scale) * d for m, d in zip(leaves, diagonal, strict=True)]
    else:
        columns = jax.tree.leaves(moments.deviations)
        rank = len(columns[0])
        # One z2 for all leaves: the deviations are columns of one matrix. Those not collected yet are zero.
        z = jax.random.normal(jax.random.fold_in(key, 1), (rank,))
        z = z / jnp.sqrt(jnp.maximum(jnp.minimum(moments.count, rank) - 1, 1).astype(jnp.float32))
        drawn = [
            m + jnp.sqrt(scale / 2) * (d + jnp.tensordot(z, c, 1))
            for m, d, c in zip(leaves, diagonal, columns, strict=True)
        ]
    return jax.tree.unflatten(structure, [leaf * defined for leaf in drawn])


def _require_some(moments: Moments) -> None:
    if not isinstance(moments.count, jax.core.Tracer) and int(moments.count) < 1:
        raise InputError("no weights were collected yet: SWA and SWAG need those of at least one cycle's end")
