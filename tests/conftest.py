"""Fixtures that several modules share: a compilation cache, and one finished tiny run."""

import os
import subprocess
import sys

# Tests compile much and run little: XLA's costly optimisations, which change nothing but speed and rounding, would take
# longer than the rest. JAX reads this when it is imported; the commands that tests start inherit it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax  # noqa: E402
import pytest  # noqa: E402
from places import ROOT, TINY_CONFIG  # noqa: E402


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """Runs `reid-jax` in a process of its own, as a user does: command(*arguments, devices=1) -> CompletedProcess."""
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or tmp_path_factory.mktemp("compiled")  # kept where it is named
    jax.config.update("jax_compilation_cache_dir", str(cache))  # of this process, which shares functions with them

    def start(*arguments, devices=1, wait=True):
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
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
def data_dir(tmp_path_factory):
    """A folder for the data sets that the tests make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def tiny_arguments(data_dir):
    """The arguments of the tiny run but for its workdir."""
    return ["train", f"--config={TINY_CONFIG}", f"--config.data_dir={data_dir}"]


@pytest.fixture(scope="session")
def tiny_run(command, tiny_arguments, tmp_path_factory):
    """The workdir of a finished tiny run."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    done = command(*tiny_arguments, f"--workdir={workdir}")
    assert done.returncode == 0, done.stdout + done.stderr
    return workdir
