"""Devices: one mesh of one axis, 'data', over all of them, and the shardings that a run uses.

Arrays are global; under `jit` a sum over the batch is the sum over all devices. Results do not depend on the number of
devices, but for rounding.
"""

import os
import socket

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from reid_jax.errors import InputError

# A cluster's launcher names its processes in one of these; `jax.distributed` then finds the rest by itself.
_LAUNCHERS = ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST", "TPU_WORKER_HOSTNAMES")

_NEVER = 10 * 365 * 24 * 3600  # seconds


def initialize() -> None:
    """Joins the processes of this run, one or many; once a process, before the first use of a device.

    Several processes on bare machines name JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and
    JAX_PROCESS_ID; on TPU VMs, under SLURM, Open MPI or Kubernetes all is found. A single process is initialised
    too: it is what turns SIGTERM into a notice that the run can save at, instead of the end of the process.
    """
    if jax.distributed.is_initialized():
        return
    bare = [os.environ.get(f"JAX_{name}") for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID")]
    if any(bare) and not all(bare):
        raise InputError(
            "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID belong together; set all three or none"
        )
    if all(bare):
        address, processes, process = bare
        jax.distributed.initialize(address, int(processes), int(process))
    elif any(name in os.environ for name in _LAUNCHERS):
        jax.distributed.initialize()
    else:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Alone, a process that was suspended (a laptop asleep) is not dead: it need not miss a heartbeat of its own.
        jax.distributed.initialize(f"127.0.0.1:{port}", 1, 0, heartbeat_timeout_seconds=_NEVER)


def create_mesh() -> Mesh:
    """Returns the mesh of all devices. Its axis is Auto: JAX's default, Explicit, does not trace `x @ x.T`."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


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
