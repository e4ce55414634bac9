"""The programs of a config, lowered for a mesh whose devices need not be here: shapes stand for arrays."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct
from jax.sharding import Mesh
from ml_collections import ConfigDict

from reid_jax import parallel
from reid_jax.bench.embedding import gflop_of
from reid_jax.bench.training import IMAGES_OF_AN_IDENTITY, PRODUCTS_OF_A_LAYER
from reid_jax.data.resident import ResidentImages, rows_of
from reid_jax.describe import IMAGES_PER_DISPATCH, describe_batch, forward_of, images_at_a_time, prepare
from reid_jax.models.registry import network_of
from reid_jax.training import assemble
from reid_jax.training.batches import Resident
from reid_jax.training.state import create_state, init_variables
from reid_jax.training.steps import compile_chunk


@dataclasses.dataclass(frozen=True)
class Program:
    """One program. `steps` loop within a dispatch, each on `images` images, on all devices together.

    gflop: what the network takes for a step, counted in the traced computation; of the whole mesh.
    """

    lowered: jax.stages.Lowered
    devices: int
    steps: int
    images: int
    gflop: float


def training(config: ConfigDict, identities: int, mesh: Mesh) -> Program:
    """Returns the chunk of steps that a run dispatches, for made images of so many identities.

    Raises InputError for a batch that does not divide over the devices, and for what is wrong with the config.
    """
    network = network_of(config, identities)
    label = np.repeat(np.arange(identities, dtype=np.int32), IMAGES_OF_AN_IDENTITY)
    origin = label * max(1, len(config.batch.shares)) // identities  # joined sets: as many identities each
    sampler = assemble.sampler_of(config, label, origin)
    parallel.check_divisible(sampler.batch_size, mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda key: init_variables(network, key, config.image_size), key)
    schedule = assemble.schedule_of(config, sampler.steps_per_epoch)
    optimizer = assemble.optimizer_of(config, schedule, variables["params"])
    augmentation = assemble.augmentation_of(config)
    objective, groups = assemble.objective_of(config), config.batch.groups
    chunk = compile_chunk(network, optimizer, objective, augmentation, mesh, groups=groups)
    steps, size = config.steps_per_dispatch, tuple(config.image_size)
    lowered = chunk.lower(
        jax.eval_shape(lambda variables: create_state(variables, optimizer), variables),
        Resident(
            ResidentImages(ShapeDtypeStruct((len(label), *rows_of(size)), jnp.uint8), size),
            ShapeDtypeStruct(label.shape, jnp.int32),
            ShapeDtypeStruct((steps, sampler.batch_size), jnp.int32),
        ),
        ShapeDtypeStruct((), jnp.int32),
        key,
    )
    gflop = PRODUCTS_OF_A_LAYER * gflop_of(network, config.image_size) * sampler.batch_size
    return Program(lowered, mesh.size, steps, sampler.batch_size, gflop)


def embedding(config: ConfigDict, mesh: Mesh) -> Program:
    """Returns one dispatch of images to descriptors, as many as `reid_jax.describe` takes at once."""
    network = network_of(config, 0)
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda key: init_variables(network, key, config.image_size), key)
    count = IMAGES_PER_DISPATCH * mesh.size
    images = ShapeDtypeStruct((count, *config.image_size, 3), jnp.uint8, sharding=parallel.by_example(mesh))
    shape = (images_at_a_time(count, mesh), *config.image_size, 3)
    ahead, rest = forward_of(network, variables, shape, mesh)
    prepared = jax.eval_shape(prepare, ahead, variables, mesh)
    lowered = describe_batch.lower(rest, _whole(prepared, mesh), images, mesh, False)
    return Program(lowered, mesh.size, 1, count, gflop_of(network, config.image_size) * count)


def _whole(variables: Any, mesh: Mesh) -> Any:
    sharding = parallel.replicated(mesh)
    return jax.tree.map(lambda each: ShapeDtypeStruct(each.shape, each.dtype, sharding=sharding), variables)
