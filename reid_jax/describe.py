"""The forward pass in inference mode: `describe`, the pure function, and `Encoder`, its weights on the devices.

All that describes images goes through here: evaluation, the pictures, `Extractor`, `reid-jax embed` and the bench. What
they read is a `Describer`: an `Encoder`, or a file that one was exported to (`reid_jax.export.reading`).
"""

import abc
import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax import ShapeDtypeStruct
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import Mesh, PartitionSpec

from reid_jax import parallel
from reid_jax.data.augment import normalise
from reid_jax.descriptors import digest_of
from reid_jax.errors import InputError
from reid_jax.models import ops
from reid_jax.retrieval.aggregate import renormalise
from reid_jax.split_computation import split

# Images a device takes in one dispatch, and, on a CPU, at a time within it: with few, every activation stays in cache.
# Several devices share it, and what cores there are: each then has less to spread over threads.
IMAGES_PER_DISPATCH = 256
_FEWEST_PER_DISPATCH = 8
_MICRO_BATCH = {"cpu": 8}
_MICRO_BATCH_OF_SEVERAL = {"cpu": 4}


def describe(network, variables: dict[str, Any], image: jax.Array) -> jax.Array:
    """Returns the descriptors of images: uint8 [n, h, w, 3], RGB -> float32 [n, d], unit norm.

    The network in inference mode on normalised images. Pure, and without work on the host: it may be jitted, exported
    and differentiated. `variables` is {'params', 'batch_stats'}; (h, w) is the size that the network was trained with,
    which nothing here checks: `Encoder` does.
    """
    return network.apply(variables, normalise(image), train=False).embedding


class Describer(abc.ABC):
    """What describes images that are on the host.

    image_size: (height, width) in pixels that it takes. mesh: the devices on which its descriptors are compared.
    """

    image_size: tuple[int, int]
    mesh: Mesh

    @property
    @abc.abstractmethod
    def streams(self) -> tuple[int, ...]:
        """The widths of the vectors that a descriptor concatenates, each of norm 1/sqrt(their number)."""

    @property
    @abc.abstractmethod
    def digest(self) -> str:
        """Of the weights, 64 hexadecimal digits: descriptors of equal digests can be compared."""

    @property
    def dimensions(self) -> int:
        """d, the length of a descriptor."""
        return sum(self.streams)

    def describe(self, image: np.ndarray, flip: bool = False) -> np.ndarray:
        """Returns the descriptors float32 [n, d], unit norm, of uint8 images [n, h, w, 3], RGB, on the host.

        With `flip` a descriptor is the mean of the image's and its mirror image's, renormalised per stream. The result
        does not depend on the number of devices, but for rounding.

        Raises InputError where the images have another shape, size or type, or a descriptor is not finite.
        """
        return self.describe_blocks([np.asarray(image)], flip)

    def describe_blocks(self, blocks: Iterable[np.ndarray], flip: bool = False) -> np.ndarray:
        """Returns the descriptors of all images of `blocks`, as `describe` does for each of them.

        The next block is taken, so decoded where `blocks` is a generator, while the devices work on this one. Memory
        beside the descriptors is that of two blocks.
        """
        parts = list(self._described(blocks, flip))
        return np.concatenate(parts) if parts else np.zeros((0, self.dimensions), np.float32)

    @abc.abstractmethod
    def _described(self, blocks: Iterable[np.ndarray], flip: bool) -> Iterator[np.ndarray]:
        """The descriptors of the images of `blocks`, each checked by `_check`, in parts of any length."""

    def _check(self, image: np.ndarray) -> None:
        if image.ndim != 4 or image.shape[3] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"images have shape {list(image.shape)} and type {image.dtype}; give uint8 [n, h, w, 3], RGB from 0 to "
                "255"
            )
        if image.shape[1:3] != self.image_size:
            (height, width), (rows, columns) = self.image_size, image.shape[1:3]
            raise InputError(
                f"images have {rows}x{columns} pixels (height x width), but these weights were trained with "
                f"{height}x{width}; resize them, as `Extractor` does"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder(Describer):
    """A network with its weights on the devices, which describes images that are on the host.

    `Encoder.of` makes one of a weights file that was read, training of its state, and `averaging.samples` one of each
    sample of the weights. The weights are copied to the devices once, here, and not with each dispatch. Each image is
    computed by the same code whatever the number of devices. A batch is filled up to a power of two times the devices,
    from 8 to 256 on each: few shapes are compiled. What the weights alone decide is computed at the first batch of a
    shape, and kept.

    Fields:
      network: the Flax module; see `models.output.Output` for what it returns.
      variables: {'params', 'batch_stats'}, float32, whole on every device of the mesh.
      image_size: (height, width) in pixels that the network was trained with.
      mesh: the devices, over which images are spread.
    """

    network: Any
    variables: dict[str, Any]
    image_size: tuple[int, int]
    mesh: Mesh

    def __post_init__(self):
        variables = {key: self.variables[key] for key in ("params", "batch_stats")}
        object.__setattr__(self, "variables", _on_every_device(variables, self.mesh))
        object.__setattr__(self, "image_size", tuple(map(int, self.image_size)))
        object.__setattr__(self, "_prepared", {})

    @classmethod
    def of(cls, weights, mesh: Mesh) -> "Encoder":
        """Returns the encoder of `weights` as `reid_jax.weights.load_weights` reads them."""
        return cls(weights.network, weights.variables, weights.config.image_size, mesh)

    @property
    def streams(self) -> tuple[int, ...]:
        """See `Describer`."""
        return tuple(self.network.streams)

    @functools.cached_property
    def digest(self) -> str:
        """See `Describer`."""
        return digest_of(self.variables)

    def lower(self, image: np.ndarray) -> jax.stages.Lowered:
        """Returns the program that describes the first dispatch of `image`, uint8 [n, h, w, 3], yet to be compiled."""
        self._check(image)
        _, batch = next(_dispatches(image, self.mesh))
        return describe_batch.lower(*self._forward(batch), batch, self.mesh, False)

    def _described(self, blocks: Iterable[np.ndarray], flip: bool) -> Iterator[np.ndarray]:
        pending = []
        for image in blocks:
            self._check(image)
            for count, batch in _dispatches(image, self.mesh):
                pending.append((count, self._dispatch(batch, flip)))
                if len(pending) > 1:  # the next batch is on its way while this one comes back
                    yield self._collect(*pending.pop(0), flip)
        for dispatched in pending:
            yield self._collect(*dispatched, flip)

    def _dispatch(self, batch: jax.Array, flip: bool) -> jax.Array:
        return describe_batch(*self._forward(batch), batch, self.mesh, flip)

    def _forward(self, batch: jax.Array) -> tuple[ClosedJaxpr, list[jax.Array]]:
        """The forward pass but for what the weights alone decide, and the latter, computed."""
        at_a_time = images_at_a_time(batch.shape[0], self.mesh)
        if at_a_time not in self._prepared:
            ahead, rest = forward_of(self.network, self.variables, (at_a_time, *batch.shape[1:]), self.mesh)
            self._prepared[at_a_time] = rest, prepare(ahead, self.variables, self.mesh)
        return self._prepared[at_a_time]

    def _collect(self, count: int, embedding: jax.Array, flip: bool) -> np.ndarray:
        """Brings the first `count` descriptors of a batch to the host."""
        if not embedding.is_fully_addressable:  # other processes have the rest
            embedding = parallel.replicate(self.mesh)(embedding)
        embedding = np.asarray(embedding)[:count]
        require_finite(embedding)
        return renormalise(embedding, self.streams) if flip else embedding


def require_finite(embedding: np.ndarray) -> None:
    """Raises InputError where a descriptor of [n, d] is not finite."""
    bad = np.count_nonzero(~np.isfinite(embedding).all(1))
    if bad:
        raise InputError(
            f"{bad:,} of {len(embedding):,} descriptors are not finite: the network's numbers overflow on these "
            "images; take other weights, or compute in float32"
        )


_describe = jax.jit(describe, static_argnums=0)


def forward_of(
    network: Any, variables: dict[str, Any], shape: tuple[int, ...], mesh: Mesh
) -> tuple[ClosedJaxpr, ClosedJaxpr]:
    """Returns `describe` for images of `shape`, traced and split into what `variables` alone decide and the rest.

    `variables` may be shapes. See `split_computation`; the same network and shapes give the same two objects.
    """
    shapes = jax.tree.map(lambda each: ShapeDtypeStruct(each.shape, each.dtype), variables)
    with ops.traced_for(mesh.devices.flat[0].platform):
        traced = _describe.trace(network, shapes, ShapeDtypeStruct(shape, np.uint8))
    return split(traced.jaxpr, len(jax.tree.leaves(variables)))


@functools.partial(jax.jit, static_argnums=(0, 2))
def prepare(ahead, variables, mesh):
    """The first part of `forward_of`, whole on every device of the mesh."""
    prepared = jaxpr_as_fun(ahead)(*jax.tree.leaves(variables))
    return jax.lax.with_sharding_constraint(prepared, parallel.replicated(mesh))


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def describe_batch(rest, prepared, image, mesh, flip):
    """The second part of `forward_of` on each device's images, some at a time; with `flip` summed over both sides."""
    at_a_time = rest.in_avals[-1].shape[0]

    def on_one_device(prepared, image):
        def forward(image):
            (embedding,) = jaxpr_as_fun(rest)(*prepared, image)
            if flip:
                embedding += jaxpr_as_fun(rest)(*prepared, image[:, :, ::-1])[0]
            return embedding

        slices = image.reshape(-1, at_a_time, *image.shape[1:])
        return jax.lax.map(forward, slices).reshape(image.shape[0], -1)

    whole, spread = PartitionSpec(), PartitionSpec("data")
    # The trace knows nothing of a mesh, so JAX cannot check in it what varies from device to device.
    computed = jax.shard_map(on_one_device, mesh=mesh, in_specs=(whole, spread), out_specs=spread, check_vma=False)
    return computed(prepared, image)


def images_at_a_time(count: int, mesh: Mesh) -> int:
    """Of `count` images that the devices share in a dispatch, how many each computes at a time."""
    most = _MICRO_BATCH if len(mesh.local_devices) == 1 else _MICRO_BATCH_OF_SEVERAL
    return min(most.get(mesh.devices.flat[0].platform, IMAGES_PER_DISPATCH), count // mesh.size)


def _dispatches(image: np.ndarray, mesh: Mesh) -> Iterator[tuple[int, jax.Array]]:
    """Cuts images into what one dispatch takes: (how many images, they filled up and spread over the devices)."""
    block = IMAGES_PER_DISPATCH * mesh.size
    if len(image) < block:  # few images: the smallest power of two that holds them, so that few shapes compile
        per_device = max(_FEWEST_PER_DISPATCH, 1 << (-(-len(image) // mesh.size) - 1).bit_length())
        block = per_device * mesh.size
    sharding = parallel.by_example(mesh)
    for start in range(0, len(image), block):
        part = image[start : start + block]
        padded = np.zeros((block, *image.shape[1:]), np.uint8)
        padded[: len(part)] = part
        with jax.transfer_guard_host_to_device("allow"):  # the only transfer that describing images needs
            batch = jax.make_array_from_callback(padded.shape, sharding, lambda index, a=padded: a[index])
        yield len(part), batch


def _on_every_device(variables: dict[str, Any], mesh: Mesh) -> dict[str, Any]:
    """The same arrays, whole on every device of the mesh; those that are there already are not copied."""
    whole = parallel.replicated(mesh)
    if jax.process_count() == 1:
        return jax.device_put(variables, whole)

    def place(value):
        if isinstance(value, jax.Array) and value.sharding.is_equivalent_to(whole, value.ndim):
            return value
        # Each process hands over its own copy. `device_put` would compare them over the network, one by one.
        return parallel.place(mesh, np.asarray(value), PartitionSpec())

    return jax.tree.map(place, variables)
