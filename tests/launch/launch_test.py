"""The launchers: what they start, how they stop and go on, with stand-ins for clusters; one run of two processes."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from places import ROOT

from reid_jax.files.json_files import read_json
from reid_jax.training.metric_writer import read_records

LAUNCH = ROOT / "launch"
SCRIPTS = sorted(path for path in LAUNCH.iterdir() if path.suffix in (".sh", ".sbatch"))


@pytest.fixture
def commands(tmp_path):
    """commands(name=script...) -> an environment in which these commands are stand-ins; each logs its call to calls."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(**scripts):
        for name, script in scripts.items():
            file = folder / name.replace("_", "-")
            file.write_text(f'#!/bin/bash\necho "{file.name} $*" >> {tmp_path}/calls\n{script}\n')
            file.chmod(0o755)
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "SLURM_"))}
        return {**bare, "PATH": f"{folder}:{os.environ['PATH']}", "RETRY": "0"}

    return make


def calls(tmp_path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_show_their_command(script):
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    assert any(line.startswith("# ") and f"launch/{script.name}" in line for line in lines[:10])
    assert script.suffix == ".sbatch" or os.access(script, os.X_OK)


def test_processes_get_their_numbers_and_the_arguments(commands, tmp_path):
    say = f'echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES at $JAX_COORDINATOR_ADDRESS: $*" > {tmp_path}/$JAX_PROCESS_ID'
    environment = commands(reid_jax=say)
    line = [LAUNCH / "processes.sh", "3", "--config=a b.py", "--workdir=c"]
    assert subprocess.run(line, env=environment, check=False).returncode == 0
    said = [(tmp_path / str(process)).read_text().split(" at ") for process in range(3)]
    assert [begin for begin, _ in said] == [f"{process} of 3" for process in range(3)]
    assert len({end for _, end in said}) == 1
    assert said[0][1].startswith("127.0.0.1:")
    assert said[0][1].strip().endswith("train --config=a b.py --workdir=c")


@pytest.mark.parametrize("failing", [0, 1])
def test_a_process_that_fails_ends_the_others_and_gives_the_exit_code(commands, failing):
    wait = f'trap "exit 0" TERM; [ $JAX_PROCESS_ID = {failing} ] && exit 7; for i in {{1..300}}; do sleep 0.1; done'
    # The launcher looks at process 0 first: where that one hangs, JAX ends it once process 1 is missed.
    wait = wait if failing == 0 else wait.replace("{1..300}", "{1..5}")
    began = time.monotonic()
    done = subprocess.run([LAUNCH / "processes.sh", "2", "-x"], env=commands(reid_jax=wait), check=False)
    assert done.returncode == 7
    assert time.monotonic() - began < 25


def test_sigterm_reaches_every_process_and_is_waited_for(commands, tmp_path):
    saves = (
        f'trap "sleep 0.3; touch {tmp_path}/saved$JAX_PROCESS_ID; exit 0" TERM; touch {tmp_path}/up$JAX_PROCESS_ID\n'
        "for i in {1..300}; do sleep 0.1; done"
    )
    process = subprocess.Popen([LAUNCH / "processes.sh", "2", "-x"], env=commands(reid_jax=saves))
    wait_for(lambda: all((tmp_path / f"up{number}").exists() for number in range(2)))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert all((tmp_path / f"saved{number}").exists() for number in range(2))


# How a workdir can be given; of two the last one holds.
WORKDIRS = ["--workdir={}", "--workdir {}", "--workdir=other --workdir={}", "--workdir=other --workdir {}"]


@pytest.mark.parametrize("workdir", WORKDIRS)
def test_a_slurm_job_that_was_told_to_stop_queues_itself_again(commands, tmp_path, workdir):
    environment = {**commands(srun="", scontrol="", sleep=""), "SLURM_JOB_ID": "5"}
    given = workdir.format(tmp_path / "run")
    line = ["bash", LAUNCH / "slurm.sbatch", "--config=a.py", *given.split()]
    assert subprocess.run(line, env=environment, check=False).returncode == 1
    assert calls(tmp_path)[:2] == [f"srun reid-jax train --config=a.py {given}", "scontrol requeue 5"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("{}")
    assert subprocess.run(line, env=environment, check=False).returncode == 0
    assert not any(call.startswith("scontrol") for call in calls(tmp_path)[3:])


@pytest.mark.parametrize("script", ["slurm.sbatch", "until_done.sh"])
def test_a_finished_run_below_the_home_is_found(commands, tmp_path, script):
    environment = {**commands(srun="", scontrol="", sleep="", reid_jax=""), "HOME": str(tmp_path), "SLURM_JOB_ID": "5"}
    (tmp_path / "a run").mkdir()
    line = ["bash", LAUNCH / script, "--workdir=~/a run"]
    assert subprocess.run(line, env=environment, check=False).returncode in (1, 75)
    (tmp_path / "a run" / "results.json").write_text("{}")
    assert subprocess.run(line, env=environment, check=False).returncode == 0


@pytest.mark.parametrize("workdir", ["runs/2x", "~/runs/2x", "gs://bucket/2x"])
def test_a_spot_run_whose_workdir_would_go_with_its_host_is_refused(commands, tmp_path, workdir):
    (tmp_path / "calls").touch()
    done, verbs = spot(commands, tmp_path, GCLOUD, f"--workdir={workdir}")
    assert (done.returncode, verbs) == (2, [])
    assert f"--workdir is {workdir}; give one that begins with /" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--workdir="], ["--workdir"], ["--config.init_from=--workdir"]])
@pytest.mark.parametrize("script", ["slurm.sbatch", "spot_tpu.sh", "until_done.sh"])
def test_without_a_workdir_nothing_is_started(commands, tmp_path, script, arguments):
    environment = {**commands(srun="", gcloud="", sleep="", reid_jax=""), "TPU": "t", "ZONE": "z", "TYPE": "v6e-4"}
    line = ["bash", LAUNCH / script, "--config=a.py", *arguments]
    done = subprocess.run(line, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "give --workdir=FOLDER" in done.stderr
    assert not (tmp_path / "calls").exists()


def test_a_slurm_job_whose_run_fails_fails(commands, tmp_path):
    environment = commands(srun="exit 3", scontrol="")
    line = ["bash", LAUNCH / "slurm.sbatch", "--config=a.py", "--workdir=run"]
    assert subprocess.run(line, env=environment, check=False).returncode == 3
    assert len(calls(tmp_path)) == 1


@pytest.mark.parametrize(("code", "results", "expected"), [(0, True, 0), (0, False, 75), (2, False, 2), (2, True, 2)])
def test_until_done_tells_a_finished_run_from_a_stopped_and_a_failed_one(commands, tmp_path, code, results, expected):
    if results:
        (tmp_path / "results.json").write_text("{}")
    line = [LAUNCH / "until_done.sh", "--config=a b.py", "--workdir", str(tmp_path)]
    assert subprocess.run(line, env=commands(reid_jax=f"exit {code}"), check=False).returncode == expected
    assert calls(tmp_path) == [f"reid-jax train --config=a b.py --workdir {tmp_path}"]


def test_until_done_hands_sigterm_on_and_waits(commands, tmp_path):
    saves = (
        f'trap "sleep 0.3; touch {tmp_path}/saved; exit 0" TERM; touch {tmp_path}/up\n'
        "for i in {1..300}; do sleep 0.1; done"
    )
    line = [LAUNCH / "until_done.sh", f"--workdir={tmp_path}"]
    process = subprocess.Popen(line, env=commands(reid_jax=saves))
    wait_for(lambda: (tmp_path / "up").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("variables", "begin", "all_of_them"),
    [
        ({"TYPE": "ct6e-standard-8t", "IMAGE": "p/f"}, "gcloud compute", ""),
        ({"TYPE": "v6e-4"}, "gcloud compute tpus tpu-vm", " --worker=all"),
    ],
)
def test_a_dry_run_prints_one_round_and_calls_nothing(commands, tmp_path, variables, begin, all_of_them):
    environment = {**commands(gcloud="", git=""), "TPU": "t", "ZONE": "z", "SETUP": "mount it", **variables}
    line = [LAUNCH / "spot_tpu.sh", "--dry-run", "--config=a b.py", "--workdir=/mnt/run"]
    done = subprocess.run(line, env=environment, check=True, capture_output=True, text=True)
    assert not (tmp_path / "calls").exists()
    # Each line is a command as a shell takes it.
    words = [shlex.split(line) for line in done.stdout.splitlines()]
    vm = begin.split() + ["instances"] * (begin == "gcloud compute")
    assert words[0] == words[-1] == [*vm, "delete", "t", "--zone=z", "--quiet"]
    assert words[1][: len(vm) + 2] == [*vm, "create", "t"]
    assert ("--provisioning-model=SPOT" if "IMAGE" in variables else "--spot") in words[1]
    assert words[2] == [*begin.split(), "ssh", "t", "--zone=z", *all_of_them.split(), "--command=mount it"]
    assert words[3][0] == "git"
    train = words[-3]
    assert train[-1] == r"--command=cd reid_jax && exec ~/venv/bin/reid-jax train --config=a\ b.py --workdir=/mnt/run"
    assert words[-2][-1] == "--command=test -f /mnt/run/results.json"


def test_a_spot_run_on_compute_engine_goes_on_with_a_new_instance(commands, tmp_path):
    gcloud = GCLOUD.replace("READY", "RUNNING").replace("PREEMPTED", "TERMINATED")
    done, _ = spot(commands, tmp_path, gcloud, TYPE="ct6e-standard-8t", IMAGE="a-project/a-family")
    assert done.returncode == 0, done.stderr
    made = [call for call in calls(tmp_path) if "instances create" in call]
    assert len(made) == 2
    assert "--machine-type=ct6e-standard-8t --image-project=a-project --image-family=a-family" in made[0]
    assert sum("reid-jax train" in call for call in calls(tmp_path)) == 2
    assert "instances delete" in calls(tmp_path)[-1]
    assert not any("tpu-vm" in call or "--worker" in call for call in calls(tmp_path))


def test_a_tpu_slices_workers_all_get_the_quoted_command(commands, tmp_path):
    environment = {**commands(gcloud=""), "TPU": "t", "ZONE": "z"}
    line = [LAUNCH / "tpu_vm.sh", "--config=a.py", "--config.dataset=x:y=(1, 2)"]
    assert subprocess.run(line, env=environment, check=False).returncode == 0
    (call,) = calls(tmp_path)
    assert call.startswith("gcloud compute tpus tpu-vm ssh t --zone=z --worker=all --command=cd reid_jax &&")
    assert call.endswith(r"reid-jax train --config=a.py --config.dataset=x:y=\(1\,\ 2\)")


# A slice that is taken away during the first training and done after the second.
GCLOUD = """
case "$*" in
  *describe*) cat {state} 2>/dev/null || exit 1 ;;
  *create*) echo READY > {state} ;;
  *delete*) rm -f {state} ;;
  *test*) [ -f {done} ] ;;
  *train*) if [ -f {once} ]; then touch {done}; else touch {once}; echo PREEMPTED > {state}; exit 255; fi ;;
esac
"""


def spot(commands, tmp_path, gcloud, workdir="--workdir=/mnt/run", **variables):
    names = ("state", "done", "once")
    script = gcloud.format(**{name: tmp_path / name for name in names})
    environment = {**commands(gcloud=script), "TPU": "t", "ZONE": "z", "TYPE": "v5litepod-8", "SETUP": "mount it"}
    environment |= variables
    line = [LAUNCH / "spot_tpu.sh", "--config=a.py", *workdir.split()]
    done = subprocess.run(line, env=environment, check=False, capture_output=True, text=True, timeout=60)
    return done, [call.split("tpu-vm ")[1].split()[0] for call in calls(tmp_path) if "tpu-vm" in call]


@pytest.mark.parametrize("workdir", ["--workdir=/mnt/run", "--workdir /mnt/run"])
def test_a_spot_run_goes_on_with_a_new_slice_until_it_is_done(commands, tmp_path, workdir):
    done, verbs = spot(commands, tmp_path, GCLOUD, workdir)
    assert done.returncode == 0, done.stderr
    assert any("test -f /mnt/run/results.json" in call for call in calls(tmp_path))
    assert verbs.count("create") == 2
    assert verbs[-1] == "delete"
    trained = [call for call in calls(tmp_path) if "reid-jax train" in call]
    assert len(trained) == 2
    assert len(set(trained)) == 1
    assert sum("--command=mount it" in call for call in calls(tmp_path)) == 2


@pytest.mark.parametrize(
    ("variables", "version"),
    [
        ({"TYPE": "v3-8"}, "tpu-ubuntu2204-base"),
        ({"TYPE": "v4-8"}, "tpu-ubuntu2204-base"),
        ({"TYPE": "v5litepod-16"}, "v2-alpha-tpuv5-lite"),
        ({"TYPE": "v5p-8"}, "v2-alpha-tpuv5"),
        ({"TYPE": "v6e-4"}, "v2-alpha-tpuv6e"),
        ({"TYPE": "v6e-4", "VERSION": "mine"}, "mine"),
        ({"TYPE": "tpu7x-8", "VERSION": "mine"}, "mine"),
        ({"TYPE": "tpu7x-8"}, None),
    ],
)
def test_the_runtime_version_follows_from_the_type(commands, tmp_path, variables, version):
    gcloud = GCLOUD.replace("if [ -f {once} ]; then", "if true; then")  # done at once
    if version is None:
        (tmp_path / "calls").touch()
    done, _ = spot(commands, tmp_path, gcloud, **variables)
    if version is None:
        assert done.returncode == 2
        assert "Compute Engine (TYPE=tpu7x-standard-4t) or GKE" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        (create,) = [call for call in calls(tmp_path) if "tpu-vm create" in call]
        assert f"--accelerator-type={variables['TYPE']} --version={version} --spot" in create


def test_a_set_up_that_failed_is_repeated_before_the_run_begins(commands, tmp_path):
    failing = f"*mount*) [ -f {tmp_path}/mounted ] || {{{{ touch {tmp_path}/mounted; exit 1; }}}} ;;\n  *describe*)"
    done, verbs = spot(commands, tmp_path, GCLOUD.replace("*describe*)", failing))
    assert done.returncode == 0, done.stderr
    begun = [call for call in calls(tmp_path) if "mount it" in call or "reid-jax train" in call]
    assert ["train" in call for call in begun] == [False, False, True, False, True]
    assert verbs.count("create") == 2


def test_a_set_up_that_goes_on_failing_is_given_up(commands, tmp_path):
    done, verbs = spot(commands, tmp_path, GCLOUD.replace("*describe*)", "*mount*) exit 1 ;;\n  *describe*)"))
    assert done.returncode == 1
    assert "the set-up fails, and not for want of its TPU; t is left for a look" in done.stderr
    assert verbs.count("create") == 1
    assert not any("reid-jax train" in call for call in calls(tmp_path))


@pytest.mark.parametrize("set_up", [True, False])
def test_a_spot_run_begun_again_sets_up_only_a_host_that_was_not(commands, tmp_path, set_up):
    (tmp_path / "state").write_text("READY")
    has = GCLOUD.replace("*describe*)", f"*test\\ -x*) {str(set_up).lower()} ;;\n  *describe*)")
    done, verbs = spot(commands, tmp_path, has.replace("if [ -f {once} ]; then", "if true; then"))
    assert done.returncode == 0, done.stderr
    assert "create" not in verbs
    assert sum("--command=mount it" in call for call in calls(tmp_path)) == (not set_up)


def test_a_set_up_replaces_the_package_and_leaves_runs_and_data(commands, tmp_path):
    # The machine is a folder: what is sent there is copied, and a command runs in it as a home.
    home = tmp_path / "home"
    for file in ("runs/1x/results.json", "data/market/a.jpg", "reid_jax/old.py", "own.py"):
        (home / "reid_jax" / file).parent.mkdir(parents=True, exist_ok=True)
        (home / "reid_jax" / file).touch()
    (home / "venv" / "bin").mkdir(parents=True)
    (home / "venv" / "bin" / "pip").write_text("#!/bin/bash\npwd > ~/installed\n")
    (home / "venv" / "bin" / "pip").chmod(0o755)
    command = 'for each; do [[ $each != --command=* ]] || eval "${each#--command=}"; done'
    gcloud = f'cd {home}; export HOME={home}; if [[ $2 == scp ]]; then cp "$3" reid_jax.tar.gz; else {command}; fi'
    environment = {**commands(gcloud=gcloud, python3=""), "TPU": "t", "ZONE": "z", "TYPE": "ct6e-standard-8t"}
    for _ in range(2):
        subprocess.run([LAUNCH / "tpu_vm.sh", "setup"], env=environment, check=True)
    for file in (
        "runs/1x/results.json",
        "data/market/a.jpg",
        "own.py",
        "reid_jax/main.py",
        "configs/swag.py",
        ".gitignore",
    ):
        assert (home / "reid_jax" / file).is_file(), file
    assert not (home / "reid_jax" / "reid_jax" / "old.py").exists()
    assert not (home / "reid_jax.new").exists()
    assert (home / "installed").read_text().strip() == str(home / "reid_jax")


def test_a_spot_run_that_fails_by_itself_is_given_up(commands, tmp_path):
    done, verbs = spot(commands, tmp_path, GCLOUD.replace("if [ -f {once} ]", "exit 2; if [ -f {once} ]"))
    assert done.returncode == 1
    assert "not for want of its TPU" in done.stderr
    assert verbs.count("create") == 1
    assert sum("reid-jax train" in call for call in calls(tmp_path)) == 3


def wait_for(condition, seconds=60):
    for _ in range(20 * seconds):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("nothing happened")


def test_two_processes_train_as_one_stop_together_and_resume(one_step_run, tiny_arguments, tmp_path):
    alone, workdir = one_step_run, tmp_path / "two"
    # Of JAX's variables only those that say how to compile: the launcher sets those that say who a process is.
    compiling = (
        "JAX_DISABLE_MOST_OPTIMIZATIONS",
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JAX_") or name in compiling},
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        # Two processes share few cores.
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false",
    }
    line = [LAUNCH / "processes.sh", "2", *tiny_arguments[1:], f"--workdir={workdir}"]
    line += ["--config.epochs=2", "--config.steps_per_dispatch=1"]
    output, records = tmp_path / "output", workdir / "metrics.jsonl"

    def start():
        with output.open("a") as file:
            return subprocess.Popen(line, env=environment, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)

    process = start()
    try:
        wait_for(lambda: len(read_records(records)) >= 2 or process.poll() is not None, 900)
        process.send_signal(signal.SIGTERM)
        assert process.wait(900) == 0, output.read_text()
        text = output.read_text()
        assert "2 processes" in text
        assert text.count("training    ") == 1  # process 0 alone speaks
        if not (workdir / "results.json").exists():  # where the machine was quick, the run was over before it was told
            assert text.count("stopped at step") == 1
            process = start()
            assert process.wait(900) == 0, output.read_text()
            assert "resumed at step" in output.read_text()
    finally:
        process.terminate()
        process.wait(60)
    # The first step is that of a single process but for rounding, which later ones magnify.
    two, one = (read_records(file)[0] for file in (records, alone / "metrics.jsonl"))
    # Rounding may make a decision, too: of the 8 images of two streams, or of 24 queries.
    assert two.pop("accuracy") == pytest.approx(one.pop("accuracy"), abs=1 / 16)
    assert two == pytest.approx(one, rel=1e-4)
    results = [read_json(folder / "results.json") for folder in (workdir, alone)]
    ((data, two),), ((same, one),) = (result.items() for result in results)
    assert data == same
    assert two["untrained"] == pytest.approx(one["untrained"], abs=1 / 16)


def test_measurements_that_fail_are_told_and_made_again_alone(commands, tmp_path):
    writes = '[[ $* != *torch* ]] || exit 1; for each; do [[ $each != --json=* ]] || echo {} > "${each#--json=}"; done'
    line = [LAUNCH / "measure.sh", "--short", tmp_path / "out"]
    assert subprocess.run(line, env=commands(reid_jax=writes), check=False).returncode == 1
    made = len(calls(tmp_path))
    assert len(list((tmp_path / "out").glob("*.json"))) == made - 1
    assert subprocess.run(line, env=commands(reid_jax=writes.partition(";")[2]), check=False).returncode == 0
    assert len(calls(tmp_path)) == made + 1
    assert "--against torch torch_compiled" in calls(tmp_path)[-1]


def test_what_would_be_measured_is_printed_as_a_shell_takes_it(commands, tmp_path):
    line = [LAUNCH / "measure.sh", "--dry-run", "a folder"]
    done = subprocess.run(line, env=commands(reid_jax=""), check=True, capture_output=True, text=True, cwd=tmp_path)
    words = [shlex.split(each) for each in done.stdout.splitlines()]
    assert all(each[2:4] == ["reid-jax", "bench"] for each in words)
    assert words[0][-1] == "--json=a folder/train.json"
    assert not (tmp_path / "calls").exists()
    assert not (tmp_path / "a folder").exists()
