"""What all modules share: one cache of compiled functions, one order, and one finished tiny run."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile

# Tests compile much and run little. JAX reads these when it is imported; workers, and the commands that tests start,
# inherit them. XLA's costly optimisations, which change nothing but speed and rounding, would take longer than the
# rest; and what one process has compiled the others read, down to the smallest function.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# XLA's newer way to emit fusions compiles twice as long. An XLA that does not know the flag ends at its first use, so
# one process asks, before any other starts.
_QUICK = "--xla_cpu_use_fusion_emitters=false"
if "PYTEST_XDIST_WORKER" not in os.environ and _QUICK not in os.environ.get("XLA_FLAGS", ""):
    _flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_QUICK}".strip()}
    _asked = [sys.executable, "-c", "import jax; jax.devices()"]
    if not subprocess.run(_asked, env={**os.environ, **_flags, "JAX_PLATFORMS": "cpu"}, capture_output=True).returncode:
        os.environ.update(_flags)
# Workers share the cores: threads that spin while they wait for one another cost a small t-SNE thirty times its work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
_OWN_CACHE = None if os.environ.get("JAX_COMPILATION_CACHE_DIR") else tempfile.mkdtemp(prefix="reid-jax-compiled-")
if _OWN_CACHE:  # one that was named is kept
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _OWN_CACHE

import pytest  # noqa: E402
from places import ROOT, TINY_CONFIG  # noqa: E402

# Files that take minutes begin first, so that no worker is left with one of them at the end. They go to the workers in
# turn, and two that need the tiny run do not begin side by side: the second would wait for the first.
SLOW_FILES = (
    "averaging/cycles_test.py",
    "models/network_test.py",
    "train_test.py",
    "launch/launch_test.py",
    "launch/slurm_test.py",
)


def pytest_collection_modifyitems(items):
    """Puts the slow files first, the others behind them as they are."""
    slow = {ROOT / "tests" / name: rank for rank, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: slow.get(item.path, len(slow)))


def pytest_unconfigure():
    """Removes the cache that this process made: a worker has its parent's."""
    if _OWN_CACHE:
        shutil.rmtree(_OWN_CACHE, ignore_errors=True)


@pytest.fixture(scope="session")
def command():
    """Runs `reid-jax` in a process of its own, as a user does: command(*arguments, devices=1) -> CompletedProcess."""

    def start(*arguments, devices=1, wait=True):
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        }
        line = [sys.executable, "-m", "reid_jax.main", *map(str, arguments)]
        options = {"env": environment, "cwd": ROOT, "text": True}
        if not wait:
            return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        return subprocess.run(line, capture_output=True, timeout=600, check=False, **options)

    return start


@pytest.fixture
def mat_in_process(monkeypatch):
    """MATLAB files are read in this process: those that a test wrote are sound, and another takes a second for each."""
    from reid_jax.data.builders import matlab, matlab_reader

    def read(data, variables):
        try:
            return matlab_reader.read_variables(data, variables)
        except Exception as error:
            raise matlab._UnreadableError(str(error)) from error

    monkeypatch.setattr(matlab, "_read", read)


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory):
    """A folder that the workers of this session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def data_dir(shared_dir):
    """A folder for the data sets that the tests make."""
    folder = shared_dir / "data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_arguments(data_dir):
    """The arguments of the tiny run but for its workdir."""
    return ["train", f"--config={TINY_CONFIG}", f"--config.data_dir={data_dir}"]


@pytest.fixture(scope="session")
def run_once(command, tiny_arguments, shared_dir):
    """run_once(name, *overrides) -> the workdir of a finished tiny run, which the first worker to need it makes."""

    def start(name, *overrides):
        workdir = shared_dir / name
        with (shared_dir / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (workdir / "results.json").exists():
                done = command(*tiny_arguments, f"--workdir={workdir}", *overrides)
                assert done.returncode == 0, done.stdout + done.stderr
                assert "1 x cpu" in done.stdout
        return workdir

    return start


@pytest.fixture(scope="session")
def tiny_run(run_once):
    """The workdir of the finished tiny run, which no test changes."""
    return run_once("tiny")


@pytest.fixture(scope="session")
def one_step_run(run_once):
    """The workdir of a run of a single step, on one device: the rounding of other numbers of devices shows no more."""
    return run_once("one_step", "--config.epochs=0.1")
