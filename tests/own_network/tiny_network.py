"""A network of a user's own: plain flax.linen, outside the package."""

import flax.linen as nn
import jax.numpy as jnp

from reid_jax.models.output import Output


class Tiny(nn.Module):
    """Two convolutions, the second depth-wise, and one vector."""

    identities: int
    width: int = 8
    logit_scale: float = 8.0

    @property
    def streams(self):
        return (self.width,)

    @nn.compact
    def __call__(self, image, train):
        x = nn.Conv(self.width, (3, 3), strides=2, use_bias=False)(image)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Conv(self.width, (3, 3), feature_group_count=self.width)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        vector = x.mean((1, 2))
        unit = vector / jnp.sqrt(jnp.sum(vector**2, -1, keepdims=True) + 1e-12)
        logits = ()
        if train and self.identities:
            logits = (self.logit_scale * nn.Dense(self.identities, use_bias=False, name="classifier")(unit),)
        return Output(unit, (unit,), logits)
