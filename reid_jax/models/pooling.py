"""Pooling of a feature map to one vector: average, maximum, both, or learnable generalised mean."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

POOLINGS = ("gem", "average", "max", "average_max")


class GeM(nn.Module):
    """Generalised mean over height and width, mean(x^p)^(1/p) (Radenovic et al., TPAMI 2019; arXiv 1910.07038, eq. 6).

    [n, h, w, c] -> float32 [n, c], computed in float32; x is clamped to at least 1e-6 first; p starts at 3 and is
    learnt, one for all channels or, with `per_channel`, one for each. Nothing bounds p: the value and its gradients are
    the formula's for every p but 0, where it has none; a negative p weighs the smallest places most.
    """

    per_channel: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1],) if self.per_channel else (1,)
        p = self.param("p", nn.initializers.constant(3.0), shape)
        x = jnp.maximum(x.astype(jnp.float32), 1e-6)
        # In units of the place that weighs most no power leaves float32, where 1e-6^p would be 0 once p passes 6.3. The
        # mean does not depend on the unit: no gradient need flow through it.
        unit = jax.lax.stop_gradient(jnp.where(p > 0, jnp.max(x, (1, 2)), jnp.min(x, (1, 2))))
        return unit * jnp.mean((x / unit[:, None, None]) ** p, (1, 2)) ** (1 / p)


class Pooling(nn.Module):
    """Pools [n, h, w, c] to float32 [n, c], or [n, 2c] for 'average_max' (the two concatenated)."""

    kind: str
    gem_per_channel: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.kind == "gem":
            return GeM(self.gem_per_channel, name="gem")(x)
        x = x.astype(jnp.float32)
        average, maximum = jnp.mean(x, (1, 2)), jnp.max(x, (1, 2))
        return {"average": average, "max": maximum, "average_max": jnp.concatenate([average, maximum], -1)}[self.kind]


def gem_exponents(params: Any) -> dict[str, jax.Array]:
    """Returns the exponents p of the generalised means among `params`, found by their paths; {} where there are none.

    {'gem_p_global': float32 scalar} for the parameter pool_global/gem/p, the mean over the channels where each has one.
    """
    exponents = {}
    for (*modules, name), p in sorted(flatten_dict(params).items(), key=lambda item: item[0]):
        if name == "p":
            owners = (module.removeprefix("pool_") for module in modules if module not in ("pool", "gem"))
            exponents["_".join(("gem_p", *owners))] = jnp.mean(p)
    return exponents
