"""Descriptors of images: the jitted forward pass in inference mode, over any number of images and devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from tqdm import tqdm

from reid_jax import parallel
from reid_jax.data.augment import normalise

# Images a device takes in one dispatch, and, on a CPU, at a time within it: with few, every activation stays in cache.
IMAGES_PER_DISPATCH = 256
_MICRO_BATCH = {"cpu": 8}


@functools.partial(jax.jit, static_argnums=(0, 3))
def _embed_block(network, variables, image, mesh):
    platform = mesh.devices.flat[0].platform
    micro_batch = min(_MICRO_BATCH.get(platform, IMAGES_PER_DISPATCH), image.shape[0] // mesh.size)

    def forward(image):
        return network.apply(variables, normalise(image), train=False).embedding

    def on_one_device(image):
        slices = image.reshape(-1, micro_batch, *image.shape[1:])
        return jax.lax.map(forward, slices).reshape(image.shape[0], -1)

    spread = PartitionSpec("data")
    return jax.shard_map(on_one_device, mesh=mesh, in_specs=spread, out_specs=spread)(image)


def embed(network, variables: dict[str, Any], image: np.ndarray, mesh: Mesh, progress: str = "") -> np.ndarray:
    """Returns the unit-norm descriptors float32 [n, d] of uint8 images [n, h, w, 3] on the host.

    `variables` is {'params', 'batch_stats'}; `progress` names a bar on stderr where it is not empty. Each image is
    computed by the same code whatever the number of devices, so the result does not depend on it.
    """
    variables = {key: variables[key] for key in ("params", "batch_stats")}
    block = IMAGES_PER_DISPATCH * mesh.size
    if len(image) < block:  # few images: the smallest power of two that holds them, so that few shapes compile
        per_device = max(8, 1 << (-(-len(image) // mesh.size) - 1).bit_length())
        block = per_device * mesh.size
    sharding = parallel.by_example(mesh)
    pending, results = [], []
    bar = tqdm(
        total=len(image),
        desc=progress,
        unit=" images",
        delay=2,
        disable=not progress or jax.process_index() != 0,
    )
    with bar:
        for start in range(0, len(image), block):
            part = image[start : start + block]
            padded = np.zeros((block, *image.shape[1:]), np.uint8)
            padded[: len(part)] = part
            whole = jax.make_array_from_callback(padded.shape, sharding, lambda index, a=padded: a[index])
            pending.append((len(part), _embed_block(network, variables, whole, mesh)))
            if len(pending) > 1:  # the next block is on its way while this one comes back
                results.append(_collect(*pending.pop(0), bar))
        results += [_collect(*item, bar) for item in pending]
    return np.concatenate(results) if results else np.zeros((0, 0), np.float32)


def _collect(count, embedding, bar):
    if not embedding.is_fully_addressable:
        embedding = jax.jit(jnp.asarray, out_shardings=parallel.replicated(embedding.sharding.mesh))(embedding)
    bar.update(count)
    return np.asarray(embedding)[:count]
