"""Pooling of a feature map to one vector: average, maximum, both, or learnable generalised mean."""

import flax.linen as nn
import jax
import jax.numpy as jnp

POOLINGS = ("gem", "average", "max", "average_max")


class GeM(nn.Module):
    """Generalised mean over height and width, mean(x^p)^(1/p) (Radenovic et al., TPAMI 2019; arXiv 1910.07038, eq. 6).

    [n, h, w, c] -> float32 [n, c]; x is clamped to at least 1e-6 first; p starts at 3 and is learnt, one for
    all channels or, with `per_channel`, one for each.
    """

    per_channel: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1],) if self.per_channel else (1,)
        p = self.param("p", nn.initializers.constant(3.0), shape)
        x = jnp.maximum(x.astype(jnp.float32), 1e-6)
        return jnp.mean(x**p, (1, 2)) ** (1 / p)


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
