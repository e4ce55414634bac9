"""Joining processes: what each launcher's variables lead to, what is refused, and who goes first."""

import importlib.util
import os
import threading
import time

import jax
import pytest

from reid_jax.errors import InputError
from reid_jax.processes import joining

LAUNCHERS = ("JAX_", "SLURM_", "OMPI_", "TPU_", "MEGASCALE_", "KUBERNETES_", "JOB_COMPLETION_INDEX")
STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
TPU_VM = {"TPU_ML_PLATFORM": "JAX"}
NO_CHIP = {"TPU_SKIP_MDS_QUERY": "1"}
JOINED = ((), {})


@pytest.fixture
def initialize(monkeypatch):
    """initialize(variables, fails=None) -> what `jax.distributed.initialize` was called with, call by call."""
    for name in list(os.environ):
        if name.startswith(LAUNCHERS):
            monkeypatch.delenv(name)

    def start(variables, fails=None):
        calls = []

        def called(*arguments, **options):
            calls.append((arguments, options))
            if fails is not None and len(calls) == 1:
                raise fails

        monkeypatch.setattr(jax.distributed, "is_initialized", lambda: False)
        monkeypatch.setattr(jax.distributed, "initialize", called)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        joining.initialize()
        return calls

    return start


def alone(call) -> bool:
    (address, processes, process), options = call
    return address.startswith("127.0.0.1:") and (processes, process) == (1, 0) and len(options) == 2


@pytest.mark.parametrize(
    "variables",
    [
        {},
        NO_CHIP,
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # sbatch without srun
        {**STEP, "SLURM_STEP_NUM_TASKS": "1"},  # a shell in an allocation of two tasks
        {**STEP, "SLURM_NTASKS": "1"},
        POD,  # a notebook's pod, no indexed job
        {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "1"},
        {**TPU_VM, "TPU_WORKER_HOSTNAMES": "localhost"},
        {**TPU_VM, "TPU_PROCESS_ADDRESSES": "local"},
        {**TPU_VM, **NO_CHIP},  # TensorFlow's mark on a machine without a chip
    ],
)
def test_a_process_without_others_starts_alone(initialize, variables):
    (call,) = initialize(variables)
    assert alone(call)


@pytest.mark.parametrize(
    "variables",
    [
        STEP,
        {**STEP, "SLURM_STEP_NUM_TASKS": "2"},
        {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "2"},
        TPU_VM,  # JAX asks the metadata server which worker this is
        {**TPU_VM, "TPU_WORKER_HOSTNAMES": "t0,t1"},
        {**TPU_VM, "TPU_WORKER_HOSTNAMES": "t0", "MEGASCALE_NUM_SLICES": "2"},
        {**TPU_VM, **POD, "JOB_COMPLETION_INDEX": "1", "TPU_WORKER_HOSTNAMES": "t0,t1"},
    ],
)
def test_a_launchers_processes_are_left_to_jax(initialize, variables):
    assert initialize(variables) == [JOINED]


def test_a_tpu_vm_that_is_no_worker_of_a_slice_starts_alone(initialize):
    first, second = initialize(TPU_VM, fails=ValueError("coordinator_address should be defined."))
    assert first == JOINED
    assert alone(second)


def test_an_indexed_kubernetes_job_needs_its_package(initialize, monkeypatch):
    variables = {**POD, "JOB_COMPLETION_INDEX": "3"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pod 3 of an indexed.*pip install kubernetes"):
        initialize(variables)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert initialize(variables) == [JOINED]


def test_bare_processes_name_themselves_whatever_the_launcher(initialize):
    bare = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234", "JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "2"}
    (call,) = initialize({**STEP, **bare})
    assert call == (("10.0.0.1:1234", 3, 2), {"cluster_detection_method": "deactivate"})


@pytest.mark.parametrize(
    ("address", "processes", "process", "words"),
    [
        ("10.0.0.1:1234", "2", "", "belong together"),
        ("", "2", "0", "belong together"),
        ("10.0.0.1:1234", "two", "0", "JAX_NUM_PROCESSES is 'two'"),
        ("10.0.0.1:1234", "2", "-1", "JAX_PROCESS_ID is '-1'"),
        ("10.0.0.1:1234", "2", "2", "numbered from 0 to 1"),
        ("10.0.0.1", "2", "0", "host:port"),
    ],
)
def test_variables_that_do_not_fit_are_named(initialize, address, processes, process, words):
    bare = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": processes, "JAX_PROCESS_ID": process}
    with pytest.raises(InputError, match=words):
        initialize(bare)


@pytest.mark.parametrize(
    "error", [RuntimeError("DEADLINE_EXCEEDED:\n no answer"), ValueError("bad\n rank"), OSError("no metadata server")]
)
def test_processes_that_cannot_be_joined_are_one_line(initialize, error):
    with pytest.raises(InputError) as raised:
        initialize(STEP, fails=error)
    assert "\n" not in str(raised.value)
    assert str(error).split()[-1] in str(raised.value)


class Store:
    """The coordination service's keys and barriers, for three processes that are threads here."""

    def __init__(self):
        self.values, self.waiting, self.changed = {}, {}, threading.Condition()

    def key_value_set(self, key, value):
        with self.changed:
            assert key not in self.values
            self.values[key] = value
            self.changed.notify_all()

    def blocking_key_value_get(self, key, timeout):
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, timeout=20)
            return self.values[key]

    def wait_at_barrier(self, name, timeout):
        with self.changed:
            self.waiting[name] = self.waiting.get(name, 0) + 1
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.waiting[name] == 3, timeout=20)


@pytest.fixture
def everywhere(monkeypatch):
    """everywhere(work) -> for each of three processes what work(its index) returned or refused with."""
    mine, store = threading.local(), Store()
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: mine.index)
    monkeypatch.setattr(joining.distributed.global_state, "client", store, raising=False)

    def start(work):
        outcomes = [None] * 3
        meeting = next(joining._meetings)

        def process(index):
            mine.index = index
            try:
                outcomes[index] = work(index)
            except InputError as error:
                outcomes[index] = f"refused: {error}"

        monkeypatch.setattr(joining, "_meetings", Always(meeting))
        threads = [threading.Thread(target=process, args=(index,), daemon=True) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return outcomes

    return start


class Always:
    """A counter that stands still: threads share what processes each have."""

    def __init__(self, value):
        self.value = value

    def __iter__(self):
        return self

    def __next__(self):
        return self.value


def test_process_zero_is_done_before_the_others_begin(everywhere):
    done = []

    def task(index):
        done.append(index)
        return 10 * index

    assert everywhere(lambda index: joining.process_zero_first(lambda: task(index))) == [0, 10, 20]
    assert done[0] == 0
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize(("failing", "begun"), [(0, {0}), (2, {0, 1, 2})])
def test_an_error_of_one_process_is_raised_in_all(everywhere, failing, begun):
    called = set()

    def task(index):
        called.add(index)
        if index == failing:
            raise InputError(f"disk {index} is full")

    refused = everywhere(lambda index: joining.process_zero_first(lambda: task(index)))
    assert refused == [f"refused: disk {failing} is full"] * 3
    assert called == begun


def test_all_wait_for_the_slowest(everywhere):
    here = []

    def work(index):
        time.sleep(0.1 * index)
        here.append(index)
        joining.meet()
        return len(here)

    assert everywhere(work) == [3, 3, 3]


def test_a_single_process_just_runs_the_task_and_waits_for_nobody():
    assert joining.process_zero_first(lambda: 5) == 5
    joining.meet()
