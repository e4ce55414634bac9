"""SLURM itself, on this machine alone: a sweep's tasks of two processes each, one told to stop and queued again."""

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from places import ROOT

from reid_jax.training.metric_writer import read_records

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # Debian's daemons are not on a user's
pytestmark = pytest.mark.skipif(
    not all(shutil.which(name, path=PATH) for name in (*DAEMONS, "sbatch", "srun")), reason="SLURM is not installed"
)

# cred_expire is what a requeued job waits before it may begin, 120 seconds by default.
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=8
PartitionName=all Nodes=ALL Default=YES State=UP
"""

# The command, but that the run called `told` waits for SLURM's signal, and `next` is nothing but its results.
REID_JAX = """#!{python}
import pathlib, sys
(workdir,) = [pathlib.Path(word.partition("=")[2]) for word in sys.argv if word.startswith("--workdir=")]
if workdir.name == "next":
    workdir.mkdir(exist_ok=True)
    (workdir / "results.json").write_text("{{}}")
    sys.exit()
import patient
if workdir.name == "told":
    patient.be_patient()
sys.exit(patient.main())
"""

SWEEP = """
def sweep(add, arg=None):
    add("next", config="own.py", after=add("told", config="own.py"))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """(folder, environment) of a controller and a node that run; its commands find them by SLURM_CONF."""
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().partition(".")[0]
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    folder.chmod(0o755)  # munged wants its socket where all can look, and its key where nobody else can
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=host, ports=ports, user=user))
    (folder / "bin" / "reid-jax").write_text(REID_JAX.format(python=sys.executable))
    (folder / "bin" / "reid-jax").chmod(0o755)
    # What pytest itself was started under is not the jobs': another SLURM, or JAX's processes.
    foreign = ("SLURM", "SBATCH", "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {
        "PATH": f"{folder / 'bin'}:{PATH}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "SLURM_CONF": str(folder / "slurm.conf"),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false",  # tasks share few cores
    }
    munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    munge |= {"seed-file": "munge.seed"}
    lines = {
        "munged": ["munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in munge.items())],
        "slurmctld": ["slurmctld", "-D", "-i", "-L", str(folder / "slurmctld.log")],
        "slurmd": ["slurmd", "-D", "-N", "localhost", "-L", str(folder / "slurmd.log")],
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemons = []
    try:
        for name, line in lines.items():
            daemons.append(subprocess.Popen(line, env=environment, start_new_session=True, **quiet))
            if name == "munged" and not happens(lambda: (folder / "munge.socket").exists(), 30):
                pytest.skip("SLURM is installed, but munged does not start here")
        said = ["sinfo", "--noheader", "--format=%T"]
        if not happens(
            lambda: "idle" in subprocess.run(said, env=environment, capture_output=True, text=True).stdout, 60
        ):
            pytest.skip("SLURM is installed, but its daemons do not come up here")
        yield folder, environment
    finally:
        # What a test that failed has left: a job's step outlives a node's daemon.
        subprocess.run(["scancel", f"--user={user}"], env=environment, **quiet)
        for _ in range(100):
            if not subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True, text=True).stdout:
                break
            time.sleep(0.2)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def happens(condition, seconds):
    """Whether `condition()` holds within so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def test_a_sweeps_run_is_told_to_stop_before_its_limit_queued_again_and_ends_as_an_uninterrupted_one(
    cluster, data_dir, tmp_path
):
    folder, environment = cluster
    configs, settings = tmp_path / "configs", [f"--config.data_dir={data_dir}", "--config.steps_per_dispatch=1"]
    (configs / "sweeps").mkdir(parents=True)
    (configs / "sweeps" / "two.py").write_text(SWEEP)
    shutil.copy(ROOT / "tests" / "own_network" / "config.py", configs / "own.py")
    shutil.copy(ROOT / "tests" / "own_network" / "tiny_network.py", configs)

    def output_of(*line) -> str:
        options = {"env": environment, "cwd": ROOT, "check": False, "capture_output": True, "text": True}
        done = subprocess.run([*map(str, line)], **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    sweep = [sys.executable, ROOT / "launch" / "sweep.py", configs / "sweeps" / "two.py", f"--out={tmp_path}"]
    sweep += [f"--slurm={tmp_path}", "--sbatch=--ntasks=2 --time=20 --signal=TERM@30", *settings]
    assert "2 tasks for 2 runs" in output_of(*sweep)
    told, following = output_of(tmp_path / "submit.sh").splitlines()
    assert told.startswith("told: job ")
    assert following.startswith("next: job ")
    log = tmp_path / "told.log"
    assert happens(lambda: read_records(tmp_path / "told" / "metrics.jsonl"), 300), log.read_text()
    # Its limit comes near, sooner than a limit in minutes could. SLURM looks every half minute.
    soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 59))
    output_of("scontrol", "update", f"JobId={told.split()[-1]}", f"EndTime={soon}")
    straight = ["sbatch", "--ntasks=2", f"--output={tmp_path}/straight.log", "launch/slurm.sbatch", *settings]
    output_of(*straight, f"--config={configs / 'own.py'}", f"--workdir={tmp_path}/straight")

    def queue() -> str:
        return output_of("squeue", "--noheader", "--format=%i %j %T %r")

    assert happens(lambda: not queue() or "DependencyNeverSatisfied" in queue(), 300), queue()
    assert (tmp_path / "next" / "results.json").exists(), log.read_text()
    text = (tmp_path / "straight.log").read_text()
    assert "2 processes" in text
    assert "resumed" not in text
    text = log.read_text()
    assert text.count("2 processes") == 2
    assert text.count("stopped at step") == text.count("resumed at step") == 1
    for name in ("weights.safetensors", "swag.safetensors", "metrics.jsonl", "results.json"):
        assert (tmp_path / "told" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name
