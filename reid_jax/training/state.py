"""The state of a run: what a checkpoint holds and a step turns into the next."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from reid_jax.swag import Moments


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """A pytree: steps done (int32 scalar), parameters, BatchNorm statistics and the optimiser's own, all float32.

    `swag` are the moments of the weights at the ends of the cycles, in a run that collects them, else None.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    swag: Moments | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """What `network.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def init_variables(network, key: jax.Array, image_size: tuple[int, int]) -> dict[str, Any]:
    """Initialises the network: {'params', 'batch_stats'} of float32 arrays, classifiers included."""
    image = jnp.zeros((2, *image_size, 3))
    # Under jit the unused forward pass is dropped.
    variables = jax.jit(lambda key: network.init(key, image, train=True))(key)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}


def create_state(variables: dict[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    params = variables["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], optimizer.init(params))
