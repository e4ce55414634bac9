"""Joining the processes of a run, and what they do in turn or together."""

import contextlib
import importlib.util
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
from jax._src import distributed

from reid_jax.errors import InputError, one_line
from reid_jax.processes import output, peers, relay, signals
from reid_jax.processes.platforms import require_platforms

T = TypeVar("T")

_BARE = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_ADVICE = f"or name the processes yourself by {', '.join(_BARE[:-1])} and {_BARE[-1]}"
_PATIENCE = 280.0  # seconds for all to come: JAX aborts the process with pages of text after 300
_NEVER = 10 * 365 * 24 * 3600  # seconds
_A_DAY = 24 * 3600 * 1000  # milliseconds: longer than any data set's preparation
_meetings = itertools.count()


def initialize() -> None:
    """Joins the processes of this run, one or many; once a process, before the first use of a device.

    Several processes on bare machines name JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and
    JAX_PROCESS_ID; on TPU VMs, under `srun`, Open MPI and in indexed Kubernetes jobs JAX finds them. A single process
    is initialised too: that is what turns SIGTERM into a notice at which the run can save, instead of the end of the
    process. Several leave together: one that dies, fails or is stopped before it trains ends the others in seconds,
    with a line (`reid_jax.processes.peers`). One that waits in vain for the others leaves with a line and 1.

    Raises InputError for variables that do not fit together, where the other processes cannot be reached, and as
    `require_platforms` does.
    """
    if jax.distributed.is_initialized():
        return
    bare = _bare_processes()
    try:
        with _leaving_in_time(), relay.between_jax_and_process_zero():
            if bare is not None:
                jax.distributed.initialize(*bare, cluster_detection_method="deactivate")
            elif not _is_one_of_several() or not _found_by_jax():
                _initialize_alone()
        signals.share_with_jax()
        joined = distributed.global_state
        if joined.num_processes > 1:
            peers.watch(joined.client, joined.coordinator_address, joined.process_id, joined.num_processes)
    except (RuntimeError, OSError) as error:  # the latter from a TPU VM's metadata server
        raise InputError(
            f"the processes of this run cannot be joined: {one_line(error)}; mend it, {_ADVICE}"
        ) from error
    require_platforms()


def join_several() -> tuple[int, int]:
    """Joins the processes that a launcher has started, where there are several: (this one's number, how many).

    For work that is shared out and needs no process alone: there it does nothing, and returns (0, 1). Raises InputError
    as `initialize` does.
    """
    if _bare_processes() is None and not _is_one_of_several():
        return 0, 1
    initialize()
    return jax.process_index(), jax.process_count()


@contextlib.contextmanager
def _leaving_in_time() -> Iterator[None]:
    """Ends the process with a line where the others have not come while the block ran: JAX waits in C++."""

    def leave():
        output.print_at_once(
            f"reid-jax: after {_PATIENCE:.0f} s not all processes of this run have come; start all of them again"
        )
        os._exit(1)

    timer = threading.Timer(_PATIENCE, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _bare_processes() -> tuple[str, int, int] | None:
    """(coordinator's address, number of processes, this one's) from the JAX_ variables; None where none is set."""
    values = [os.environ.get(name, "").strip() for name in _BARE]
    if not any(values):
        return None
    address, *numbers = values
    if not all(values):
        raise InputError(f"{', '.join(_BARE[:-1])} and {_BARE[-1]} belong together; set all three or none")
    for name, number in zip(_BARE[1:], numbers, strict=True):
        if not (number.isascii() and number.isdigit()):
            raise InputError(f"{name} is {number!r}; it takes a whole number")
    processes, process = map(int, numbers)
    if not process < processes:
        raise InputError(
            f"JAX_PROCESS_ID is {process} and JAX_NUM_PROCESSES {processes}; processes are numbered from 0 to "
            f"{max(processes - 1, 0)}"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"JAX_COORDINATOR_ADDRESS is {address!r}; it takes host:port, of process 0's machine")
    return address, processes, process


def _is_one_of_several() -> bool:
    """Whether a launcher may have started other processes of this run: by the variables that JAX's detection reads."""
    here = os.environ
    if "OMPI_MCA_orte_hnp_uri" in here:
        return here.get("OMPI_COMM_WORLD_SIZE") != "1"
    if "SLURM_STEP_NODELIST" in here:  # set by srun: a batch script or an allocation's shell without it is alone
        return here.get("SLURM_STEP_NUM_TASKS", here.get("SLURM_NTASKS", "1")) != "1"
    hosts = here.get("TPU_PROCESS_ADDRESSES", here.get("TPU_WORKER_HOSTNAMES"))
    if hosts is not None:
        return "," in hosts or here.get("MEGASCALE_NUM_SLICES", "1") != "1"
    # JAX sets the first on a TPU VM, and the second on a machine without a chip; so do platforms without metadata.
    if "TPU_ML_PLATFORM" in here and "TPU_SKIP_MDS_QUERY" not in here:
        return True
    if "KUBERNETES_SERVICE_HOST" in here and "JOB_COMPLETION_INDEX" in here:  # a pod of an indexed job
        if importlib.util.find_spec("kubernetes") is None:
            raise InputError(
                f"this is pod {here['JOB_COMPLETION_INDEX']} of an indexed Kubernetes job; to find the others takes "
                f"the package kubernetes; pip install kubernetes, {_ADVICE}"
            )
        return True
    return False


def _found_by_jax() -> bool:
    """Lets JAX find and join the processes; False where it knows of none: a TPU VM that is no worker of a slice."""
    try:
        jax.distributed.initialize()
    except ValueError as error:
        if "coordinator_address should be defined" in str(error):
            return False
        raise InputError(f"the launcher's variables do not fit together: {one_line(error)}; {_ADVICE}") from error
    return True


def _initialize_alone() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        1,
        0,
        cluster_detection_method="deactivate",
        # Alone, a process that was suspended (a laptop asleep) is not dead: it need not miss a heartbeat of its own.
        heartbeat_timeout_seconds=_NEVER,
    )


def process_zero_first(task: Callable[[], T]) -> T:
    """Runs `task` on process 0, then on all others, and returns each one's result: for files that one process writes.

    The others find what process 0 has left (a claimed folder, a prepared data set), or make it on their own disk. All
    processes call this in the same order. Raises, in every process, the InputError that any of them met.
    """
    if jax.process_count() == 1:
        return task()
    # Not a collective of the devices: those give up when a process is half a minute late, and preparing takes longer.
    client, meeting, me = distributed.global_state.client, next(_meetings), jax.process_index()
    result = None
    for turn in ([0], range(1, jax.process_count())):
        if me in turn:
            error = ""
            try:
                result = task()
            except InputError as raised:
                error = str(raised)
            client.key_value_set(f"reid_jax/{meeting}/{me}", error)
        for process in turn:
            error = client.blocking_key_value_get(f"reid_jax/{meeting}/{process}", _A_DAY)
            if error:
                raise InputError(error)
    return result


def told_by_process_zero(text: str) -> str:
    """Returns process 0's text in every process: for what each would decide by its own machine.

    All processes call this in the same order.
    """
    if jax.process_count() == 1:
        return text
    client, meeting = distributed.global_state.client, next(_meetings)
    if jax.process_index() == 0:
        client.key_value_set(f"reid_jax/{meeting}/told", text)
    return client.blocking_key_value_get(f"reid_jax/{meeting}/told", _A_DAY)


def meet() -> None:
    """Waits until all processes have called this: before the first collective, which gives up on a process that late.

    All processes call this in the same order.
    """
    if jax.process_count() > 1:  # by the coordination service, as above
        distributed.global_state.client.wait_at_barrier(f"reid_jax/{next(_meetings)}", _A_DAY)
