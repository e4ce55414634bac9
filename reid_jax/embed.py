"""Descriptors of images: the jitted forward pass in inference mode, over any number of images and devices."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from reid_jax import parallel
from reid_jax.data.augment import normalise
from reid_jax.data.split import Images
from reid_jax.errors import InputError
from reid_jax.parallel import replicate
from reid_jax.retrieval.aggregate import renormalise

# Images a device takes in one dispatch, and, on a CPU, at a time within it: with few, every activation stays in cache.
# Several devices share it, and what cores there are: each then has less to spread over threads.
IMAGES_PER_DISPATCH = 256
_MICRO_BATCH = {"cpu": 8}
_MICRO_BATCH_OF_SEVERAL = {"cpu": 4}
_BLOCK = 2048  # images decoded at a time from a split on disk: bounds the memory for a split of any size


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _embed_block(network, variables, image, mesh, flip):
    most = _MICRO_BATCH if len(mesh.local_devices) == 1 else _MICRO_BATCH_OF_SEVERAL
    micro_batch = most.get(mesh.devices.flat[0].platform, IMAGES_PER_DISPATCH)
    micro_batch = min(micro_batch, image.shape[0] // mesh.size)

    def forward(image):
        embedding = network.apply(variables, normalise(image), train=False).embedding
        if flip:
            embedding = embedding + network.apply(variables, normalise(image[:, :, ::-1]), train=False).embedding
        return embedding

    def on_one_device(image):
        slices = image.reshape(-1, micro_batch, *image.shape[1:])
        return jax.lax.map(forward, slices).reshape(image.shape[0], -1)

    spread = PartitionSpec("data")
    return jax.shard_map(on_one_device, mesh=mesh, in_specs=spread, out_specs=spread)(image)


def embed(network, variables: dict[str, Any], image: np.ndarray, mesh: Mesh, flip: bool = False) -> np.ndarray:
    """Returns the unit-norm descriptors float32 [n, d] of uint8 images [n, h, w, 3] on the host.

    `variables` is {'params', 'batch_stats'}. With `flip` a descriptor is the mean of the image's and its mirror
    image's, renormalised per stream. Each image is computed by the same code whatever the number of devices, so
    the result does not depend on it, but for rounding.

    Raises InputError where the images have another shape or type, or a descriptor is not finite.
    """
    image = np.asarray(image)
    if image.ndim != 4 or image.shape[3] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"images have shape {list(image.shape)} and type {image.dtype}; give uint8 [n, h, w, 3], RGB from 0 to 255"
        )
    return _concatenate(network, _embedded(network, variables, [image], mesh, flip))


def embed_split(
    network, variables: dict[str, Any], images: Images, mesh: Mesh, flip: bool = False, progress: str = ""
) -> np.ndarray:
    """Returns the descriptors of a split as `embed` does; a split on disk is decoded while the device works.

    `progress` names a bar on stderr where it is not empty. Memory beside the descriptors is that of a few thousand
    images. Raises InputError for images that cannot be decoded, and where a descriptor is not finite.
    """
    blocks = (part.image for part in images.blocks(_BLOCK, progress))
    return _concatenate(network, _embedded(network, variables, blocks, mesh, flip))


def _embedded(network, variables, blocks: Iterable[np.ndarray], mesh: Mesh, flip: bool) -> Iterator[np.ndarray]:
    variables = {key: variables[key] for key in ("params", "batch_stats")}
    pending = []
    for image in blocks:
        for part in _dispatches(image, mesh):
            pending.append((len(part[0]), _embed_block(network, variables, part[1], mesh, flip)))
            if len(pending) > 1:  # the next block is on its way while this one comes back
                yield _collect(network, mesh, *pending.pop(0), flip)
    for item in pending:
        yield _collect(network, mesh, *item, flip)


def _dispatches(image: np.ndarray, mesh: Mesh) -> Iterator[tuple[np.ndarray, jax.Array]]:
    """Cuts images into what one dispatch takes: (the images, the same padded and spread over the devices)."""
    block = IMAGES_PER_DISPATCH * mesh.size
    if len(image) < block:  # few images: the smallest power of two that holds them, so that few shapes compile
        per_device = max(8, 1 << (-(-len(image) // mesh.size) - 1).bit_length())
        block = per_device * mesh.size
    sharding = parallel.by_example(mesh)
    for start in range(0, len(image), block):
        part = image[start : start + block]
        padded = np.zeros((block, *image.shape[1:]), np.uint8)
        padded[: len(part)] = part
        yield part, jax.make_array_from_callback(padded.shape, sharding, lambda index, a=padded: a[index])


def _collect(network, mesh: Mesh, count: int, embedding: jax.Array, flip: bool) -> np.ndarray:
    if not embedding.is_fully_addressable:  # other processes have the rest
        embedding = replicate(mesh)(embedding)
    embedding = np.asarray(embedding)[:count]
    bad = np.count_nonzero(~np.isfinite(embedding).all(1))
    if bad:
        raise InputError(
            f"{bad:,} of {count:,} descriptors are not finite: the network's numbers overflow on these images; take "
            "other weights, or compute in float32"
        )
    return renormalise(embedding, network.streams) if flip else embedding


def _concatenate(network, parts: Iterator[np.ndarray]) -> np.ndarray:
    parts = list(parts)
    return np.concatenate(parts) if parts else np.zeros((0, sum(network.streams)), np.float32)
