"""The mesh of one axis, 'data', over all devices, and the shardings of arrays on it.

Arrays are global; under `jit` a sum over the batch is the sum over all devices. Results do not depend on the number of
devices, but for rounding.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from reid_jax.errors import InputError
from reid_jax.processes.platforms import require_platforms


def create_mesh() -> Mesh:
    """Returns the mesh of all devices. Its axis is Auto: JAX's default, Explicit, does not trace `x @ x.T`.

    Raises InputError as `require_platforms` does.
    """
    require_platforms()
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def create_local_mesh() -> Mesh:
    """Returns the mesh of this process's devices: for work that each process does by itself."""
    require_platforms()
    devices = jax.local_devices()
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: parameters, statistics, the training images."""
    return NamedSharding(mesh, PartitionSpec())


def by_example(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Returns the sharding of arrays whose axis `axis` counts examples."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def check_divisible(batch_size: int, mesh: Mesh) -> None:
    """Raises InputError unless every device gets the same number of a batch's examples."""
    if batch_size % mesh.size:
        raise InputError(
            f"a batch of {batch_size} images does not divide over {mesh.size} devices; choose batch.identities x "
            f"batch.images as a multiple of {mesh.size}"
        )


def describe(mesh: Mesh) -> str:
    """Returns one line for the start of a run: devices, their kind, processes."""
    device = mesh.devices.flat[0]
    kinds = f"{mesh.size} x {device.device_kind} ({device.platform})"
    return f"devices     {kinds}, {jax.process_count()} process{'es' if jax.process_count() > 1 else ''}"


def one_device() -> Mesh:
    """The mesh of the first local device."""
    return Mesh(np.array(jax.local_devices()[:1]), ("data",), axis_types=(AxisType.Auto,))


def place(mesh: Mesh, array: np.ndarray, spec: PartitionSpec) -> jax.Array:
    """The array on the mesh; of several processes each hands over its own devices' part of the same array."""
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])


def place_whole(mesh: Mesh, arrays: Any) -> Any:
    """A tree of arrays on every device of the mesh; of several processes each hands over the same arrays.

    By way of the host: JAX makes of an array on a process's own device one that looks as the others do, but whose
    shards nobody can read, a checkpoint least of all.
    """
    return jax.device_put(jax.device_get(arrays), replicated(mesh))


@functools.cache
def replicate(mesh: Mesh) -> Callable:
    """The function that brings arrays to every device of the mesh, so that each process can read them whole."""
    return jax.jit(lambda arrays: arrays, out_shardings=NamedSharding(mesh, PartitionSpec()))
