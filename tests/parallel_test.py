"""The mesh, the shardings on it, and what does not divide over it."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from reid_jax import parallel
from reid_jax.errors import InputError


class MeshOfThree:
    size = 3


def test_the_mesh_has_every_device_on_one_automatic_axis():
    mesh = parallel.create_mesh()
    assert dict(mesh.shape) == {"data": jax.device_count()}
    assert mesh.axis_types == (AxisType.Auto,)  # an explicit one does not trace `x @ x.T`
    assert list(mesh.devices.flat) == jax.devices()
    assert parallel.one_device().size == 1
    device = jax.devices()[0]
    count, kind, platform = jax.device_count(), device.device_kind, device.platform
    assert parallel.describe(mesh) == f"devices     {count} x {kind} ({platform}), 1 process"


def test_shardings_spread_the_axis_that_counts_examples():
    mesh = parallel.create_mesh()
    assert parallel.replicated(mesh).spec == PartitionSpec()
    assert parallel.by_example(mesh).spec == PartitionSpec("data")
    assert parallel.by_example(mesh, 2).spec == PartitionSpec(None, None, "data")


def test_an_array_on_the_mesh_is_the_same_array():
    mesh, array = parallel.create_mesh(), np.arange(12.0).reshape(4, 3)
    spread = parallel.place(mesh, np.repeat(array, mesh.size, 0), PartitionSpec("data"))
    assert spread.sharding == parallel.by_example(mesh)
    whole = parallel.replicate(mesh)(spread)
    assert whole.sharding.is_fully_replicated
    np.testing.assert_array_equal(whole, np.repeat(array, mesh.size, 0))


def test_a_batch_that_does_not_divide_is_refused_with_what_would():
    parallel.check_divisible(30, MeshOfThree)
    with pytest.raises(InputError, match="32 images does not divide over 3 devices; .* as a multiple of 3"):
        parallel.check_divisible(32, MeshOfThree)
