"""The batches of a chunk of steps, in the two forms in which the devices get them.

`Resident`: all training images lie on every device, and a batch is the numbers of its images. `Handed`: the chunk's
images come from the host, each device's part of every batch. Both hold the same pixels in the same order, so that a
step does not depend on the form. What makes them on the host stands in `training.sources`.
"""

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.data.resident import ResidentImages


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Resident:
    """A pytree: image and label int32 [n], the whole split; indices int32 [k, batch] into it."""

    image: ResidentImages
    label: Any
    indices: Any

    @property
    def count(self) -> int:
        """k, the most steps of the chunk."""
        return self.indices.shape[0]

    def at(self, step: Any, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
        """Returns (uint8 [batch, h, w, 3], int32 [batch]) of step `step` of the chunk, spread over the mesh."""
        chosen = jax.lax.with_sharding_constraint(self.indices[step], parallel.by_example(mesh))
        return self.image[chosen], self.label[chosen]

    @staticmethod
    def sharding(mesh: Mesh) -> Any:
        """Whole on every device. The indices come from the host, which may hand over whole arrays only."""
        return parallel.replicated(mesh)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Handed:
    """A pytree: image uint8 [k, batch, h, w, 3] and label int32 [k, batch], of up to k steps."""

    image: Any
    label: Any

    @property
    def count(self) -> int:
        """k, the most steps of the chunk."""
        return self.label.shape[0]

    def at(self, step: Any, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
        """As `Resident.at`."""
        del mesh  # they are spread already
        return self.image[step], self.label[step]

    @staticmethod
    def sharding(mesh: Mesh) -> Any:
        """Each device has its part of every batch."""
        return parallel.by_example(mesh, axis=1)


Batches = Resident | Handed
