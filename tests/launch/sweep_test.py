"""Sweeps: what the committed ones add, and how launch/sweep.py prints, runs, resumes, stops and writes them."""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.reporting import paper

SWEEPS = ROOT / "configs" / "sweeps"

spec = importlib.util.spec_from_file_location("sweep", ROOT / "launch" / "sweep.py")
launcher = importlib.util.module_from_spec(spec)
sys.modules["sweep"] = launcher
spec.loader.exec_module(launcher)

# A stand-in for `reid-jax train`: tells its calls, waits where told, fails where told, writes config and results.
TRAIN = """
import json, os, pathlib, signal, sys, time
from reid_jax import config
arguments = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[1:] if not a.startswith("--config."))
workdir, overrides = pathlib.Path(arguments["workdir"]), [a for a in sys.argv[1:] if a.startswith("--config.")]
name, here = workdir.name, pathlib.Path({folder!r})
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
workdir.mkdir(parents=True, exist_ok=True)
(workdir / "config.json").write_text(json.dumps(config.to_dict(config.load(arguments["config"], overrides))))
with (here / "calls").open("a") as file:
    file.write("begin " + name + " gpu=" + os.environ.get("CUDA_VISIBLE_DEVICES", "-") + chr(10))
print("training", name)
for file in here.glob("hold-*-until-" + name):
    file.unlink()
while list(here.glob("hold-" + name + "*")) and not stopped:
    time.sleep(0.02)
if (here / ("fail-" + name)).exists():
    sys.exit("the loss is not finite")
if not stopped:
    scores = {{"rank1": 0.5, "mAP": 0.25}}
    (workdir / "results.json").write_text(json.dumps({{"synthetic": {{"untrained": scores, "trained": scores}}}}))
with (here / "calls").open("a") as file:
    file.write("end " + name + chr(10))
"""

SWEEP = """
from common import parse_arg
from reid_jax import config as run_config

def get_config(arg=None):
    config = run_config.default()
    config.val_identities = parse_arg(arg, val=3)["val"]
    return config

def sweep(add, arg=None):
    first = add("first", seed=1, **{"schedule.boundaries": (20.0, 30.0)})
    add("other", seed=2, **{"loss.soft_margin": False})
    add("second", after=first, config="swag.py:from=" + first + ",cycles=2")
    add("third", seed=3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a sweep beside copies of the configs it uses, and a stand-in for training."""
    (tmp_path / "configs" / "sweeps").mkdir(parents=True)
    for name in ("common.py", "swag.py"):
        (tmp_path / "configs" / name).write_text((ROOT / "configs" / name).read_text())
    (tmp_path / "configs" / "sweeps" / "small.py").write_text(SWEEP)
    (tmp_path / "train.py").write_text(TRAIN.format(folder=str(tmp_path)))
    monkeypatch.setattr(launcher, "TRAIN", [sys.executable, str(tmp_path / "train.py")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def walk(capsys, *arguments):
    code = launcher.main(["configs/sweeps/small.py", "--out=runs/small", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def calls(folder) -> list[str]:
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


def arguments_of(file, arg="") -> dict[str, launcher.Run]:
    runs = launcher.load_sweep(f"{SWEEPS / file}{':' if arg else ''}{arg}", Path("runs"))
    return {run.name: run for run in runs}


@pytest.mark.parametrize("file", sorted(path.name for path in SWEEPS.glob("*.py") if path.name != "arguments.py"))
def test_every_committed_sweep_adds_runs_whose_configs_load(file):
    runs = arguments_of(file)
    assert len(runs) > 1
    for run in runs.values():
        launcher.check(run, set())
        assert set(run.after) <= set(list(runs)[: list(runs).index(run.name)])
    assert f"launch/sweep.py configs/sweeps/{file}" in (SWEEPS / file).read_text()


def load(run):
    return run_config.load(run.config, run.overrides)


@pytest.mark.parametrize("file", ["seeds.py", "scale_and_rate.py", "choices.py"])
def test_a_sweeps_own_config_loads_by_itself(file):
    # In a process of its own: what the launcher imported is not there.
    program = "import sys; from reid_jax import config; config.load(sys.argv[1])"
    line = [sys.executable, "-c", program, str(SWEEPS / file)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_seeds_differ_in_nothing_but_the_seed():
    runs = arguments_of("seeds.py", "seeds=3,size=2x,epochs=70")
    configs = [load(run) for run in runs.values()]
    assert [config.seed for config in configs] == [0, 1, 2]
    for config in configs[1:]:
        assert run_config.differences(configs[0].to_dict(), config.to_dict()) == [f"seed: 0 -> {config.seed}"]
    assert (configs[0].model.name, configs[0].epochs) == ("robust_reid_2x", 70.0)


def test_table2_runs_every_column_and_the_second_phases_after_their_first():
    runs = arguments_of("table2.py", "seeds=2,cycles=5")
    assert len(runs) == 2 * len(paper.COLUMNS)
    assert runs["h-seed1"].after == ("g-seed1",)
    assert runs["robust-seed0"].after == ("i-seed0",)
    assert runs["h-seed1"].config.endswith("ablation.py:column=h,from=runs/g-seed1,cycles=5")
    for name in ("hacnn", "b", "g"):
        assert paper.switches_of(load(runs[f"{name}-seed1"])) == paper.COLUMNS[name]
        assert load(runs[f"{name}-seed1"]).seed == 1


def test_table2_reduced_to_a_cpu():
    runs = arguments_of("table2.py", "columns=a-b-g,tricks=no_l2,seeds=3,size=nano,data=synthetic,epochs=20")
    assert len(runs) == 12
    config = load(runs["no_l2-seed2"])
    assert (config.model.name, config.model.normalisation, config.dataset) == ("nano", "inference", "synthetic")
    for file in ("table2.py", "nano.py"):
        with pytest.raises(InputError, match="column h continues g"):
            arguments_of(file, "columns=a-h")


def test_table3_and_figure6_pair_their_phases():
    runs = arguments_of("table3.py")
    assert [run.after for run in runs.values()] == [(), ("setup1-seed0",), (), ("g-seed0",), (), ("i-seed0",)]
    runs = arguments_of("figure6.py", "seeds=3,size=nano,cycles=5,cycle_epochs=3")
    assert len(runs) == 6
    assert runs["swag-seed2"].config.endswith("swag.py:from=runs/sgd-seed2,cycles=5,cycle_epochs=3")
    assert load(runs["sgd-seed2"]).seed == 2


def test_choices_are_made_on_held_out_identities():
    for run in arguments_of("scale_and_rate.py").values():
        assert load(run).val_identities == 50
    assert load(arguments_of("scale_and_rate.py", "val=30")["scale8-fixed"]).val_identities == 30


@pytest.mark.parametrize(("file", "run"), [("choices.py", "base-seed0"), ("scale_and_rate.py", "scale8-fixed")])
def test_a_trial_of_a_sweep_has_its_own_length_and_people(file, run):
    for flag in ("runlocal", "runlocal=True"):
        config = load(arguments_of(file, flag)[run])
        assert (config.epochs, config.val_identities) == (2.0, 4)


@pytest.mark.parametrize(("arg", "peak"), [("", 0.1), ("batch=2", 0.2), ("batch=4,rate=root", 0.2), ("rate=same", 0.1)])
def test_the_peak_of_open_choices_follows_a_larger_batch(arg, peak):
    config = load(arguments_of("choices.py", arg)["base-seed0"])
    assert config.schedule.peak == (peak if peak == 0.1 else pytest.approx(peak))


def test_open_choices_change_one_thing_each_against_the_same_base():
    runs = arguments_of("choices.py", "small,epochs=15")
    configs = {name: load(run).to_dict() for name, run in runs.items()}
    assert len(configs) == 2 * 12
    base = configs["base-seed1"]
    assert (base["val_identities"], base["image_size"], base["epochs"], base["seed"]) == (50, (96, 32), 15.0, 1)
    differences = {name: run_config.differences(base, configs[f"{name}-seed1"]) for name in ("half_pad", "gem_fixed")}
    assert differences == {"half_pad": ["augment.pad: 6 -> 3"], "gem_fixed": ["optimizer.pooling_rate: 1.0 -> 0.0"]}
    assert all(run_config.differences(base, other) for name, other in configs.items() if name != "base-seed1")
    with pytest.raises(InputError, match="choices has 'padding'"):
        arguments_of("choices.py", "choices=base-padding")


def test_without_an_option_the_commands_are_printed_and_nothing_is_done(folder, capsys):
    code, out, _ = walk(capsys, "--config.schedule.peak=0.1", "--config.augment.erase_area=(0.1, 0.2)")
    assert code == 0
    first, other, second, _ = (shlex.split(line, comments=True) for line in out.splitlines())
    common = ["--config.schedule.peak=0.1", "--config.augment.erase_area=(0.1, 0.2)"]
    begin = ["reid-jax", "train", "--config=configs/sweeps/small.py", "--workdir=runs/small/first"]
    assert first == [*begin, *common, "--config.seed=1", "--config.schedule.boundaries=(20.0,30.0)"]
    assert other[-1] == "--config.loss.soft_margin=False"
    assert second[2:] == ["--config=configs/swag.py:from=runs/small/first,cycles=2", "--workdir=runs/small/second"]
    assert "# after first" in out
    assert not (folder / "runs").exists()


def test_runs_are_walked_in_order_of_dependency_and_a_second_walk_does_nothing(folder, capsys):
    code, out, _ = walk(capsys, "--run=2")
    assert code == 0, out
    order = [line.split()[:2] for line in calls(folder)]
    assert order.index(["begin", "second"]) > order.index(["end", "first"])
    assert len(order) == 8
    assert json.loads((folder / "runs/small/second/config.json").read_text())["epochs"] == 70.0
    assert "training first" in (folder / "runs/small/first.log").read_text()
    assert "4 runs: 4 done" in out
    assert "synthetic trained 50.0 / 25.0" in out
    code, out, _ = walk(capsys, "--run=2")
    assert code == 0
    assert len(calls(folder)) == 8


def test_at_most_n_run_at_a_time_each_on_its_gpu(folder, capsys):
    for name in ("first-until-other", "other-until-first"):
        (folder / f"hold-{name}").touch()
    code, _, _ = walk(capsys, "--gpus=4,7")
    assert code == 0
    running, most = set(), 0
    for line in calls(folder):
        verb, name = line.split()[:2]
        running.add(name) if verb == "begin" else running.discard(name)
        most = max(most, len(running))
    assert most == 2
    assert {line.split("gpu=")[1] for line in calls(folder) if "gpu=" in line} == {"4", "7"}


def test_a_failure_stops_only_what_starts_from_it_and_is_tried_again(folder, capsys):
    (folder / "fail-first").touch()
    code, out, _ = walk(capsys, "--run")
    assert code == 1
    states = {line.split()[0]: line.split()[1] for line in out[out.rindex("first ") :].splitlines()[:4]}
    assert states == {"first": "failed", "other": "done", "second": "blocked", "third": "done"}
    assert "exit code 1, the loss is not finite; see runs/small/first.log" in out
    assert "4 runs: 2 done, 1 blocked, 1 failed" in out
    (folder / "fail-first").unlink()
    code, out, _ = walk(capsys, "--run")
    assert code == 0
    assert [line.split()[1] for line in calls(folder)[-4:]] == ["first", "first", "second", "second"]


def test_a_folder_of_another_config_is_refused_before_anything_starts(folder, capsys):
    assert walk(capsys, "--run", "--only=third")[0] == 0
    before = calls(folder)
    code, _, err = walk(capsys, "--run", "--config.schedule.peak=0.5")
    assert code == 2
    assert "run third: runs/small/third holds a run of another config (schedule.peak: 0.03 -> 0.5)" in err
    assert calls(folder) == before


def test_done_runs_may_be_moved_and_their_folder_spelled_otherwise(folder, capsys):
    assert walk(capsys, "--run=2")[0] == 0
    before = calls(folder)
    for out in (f"{folder}/runs/small", "runs/../runs/small"):
        assert walk(capsys, "--run", f"--out={out}")[0] == 0
    (folder / "runs/small/second/results.json").unlink()  # one that goes on has to start from the same place
    assert "second" in walk(capsys, f"--out={folder}/runs/small")[1]
    (folder / "runs/small/second/results.json").write_text("{}")
    (folder / "runs/small").rename(folder / "moved")
    code, _, err = walk(capsys, "--run", "--out=moved")
    assert (code, calls(folder)) == (0, before), err


def test_a_home_in_a_path_is_expanded(folder, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert launcher.main(["~/configs/sweeps/small.py", "--out=~/runs/small", "--run=2", "--only=other"]) == 0
    assert (folder / "runs/small/other/results.json").exists()
    assert launcher.main(["~/configs/sweeps/small.py", "--out=~/runs/small", "--slurm=~/jobs"]) == 0
    assert "3 tasks for 4 runs, 1 done before" in capsys.readouterr().out
    assert (folder / "jobs" / "submit.sh").exists()
    assert not (folder / "~").exists()


def test_a_sweep_begun_beside_its_file_finds_its_configs(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder / "configs" / "sweeps")
    assert launcher.main(["small.py", "--out=../../runs", "--run=2"]) == 0, capsys.readouterr()
    assert launcher.main(["small.py", "--out=../../runs"]) == 0
    assert "--config=../swag.py:from=../../runs/first,cycles=2" in capsys.readouterr().out


def test_numpys_numbers_are_written_as_pythons(folder):
    values = (np.float64(20.0), np.int32(30))
    assert launcher._text(values) == "(20.0,30)"
    text = SWEEP.replace("(20.0, 30.0)", "tuple(np.linspace(20, 30, 2))")
    (folder / "configs/sweeps/small.py").write_text(f"import numpy as np\n{text}")
    first, *_ = launcher.load_sweep("configs/sweeps/small.py", Path("runs"))
    assert load(first).schedule.boundaries == (20.0, 30.0)


def test_sigterm_lets_the_running_ones_save_and_starts_no_more(folder):
    for name in ("first", "other", "second", "third"):
        (folder / f"hold-{name}").touch()
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'launch')!r}); import sweep\n"
        f"sweep.TRAIN = [sys.executable, {str(folder / 'train.py')!r}]\n"
        "sys.exit(sweep.main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", program, "configs/sweeps/small.py", "--out=runs/small", "--run=2"]
    options = {"cwd": folder, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(line, **options)
    wait_for(lambda: len(calls(folder)) == 2)
    # The runs hold their logs: a second launcher leaves them alone.
    twin = subprocess.run([*line, "--only=first"], check=False, **options)
    assert twin.returncode == 1
    assert "another process is at work on it" in twin.stdout
    process.send_signal(signal.SIGTERM)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "first   stopped  the same command resumes it" in out
    assert sorted(line.split()[0] for line in calls(folder)) == ["begin", "begin", "end", "end"]


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("nothing happened")


def test_slurm_gets_a_task_a_run_in_order_of_dependency(folder, capsys):
    assert walk(capsys, "--run", "--only=other")[0] == 0
    code, out, _ = walk(capsys, "--slurm=jobs", "--sbatch=--gres=gpu:1 --time 1:00:00")
    assert code == 0
    assert "3 tasks for 4 runs, 1 done before" in out
    assert sorted(path.name for path in (folder / "jobs").iterdir()) == ["small.sbatch", "submit.sh"]
    job = folder / "jobs" / "small.sbatch"
    for line in ("#SBATCH --gres=gpu:1", "#SBATCH --time 1:00:00", f"#SBATCH --chdir={folder}", "#SBATCH --requeue"):
        assert line in job.read_text().splitlines()

    # sbatch as it answers: a number a job.
    (folder / "bin").mkdir()
    count = 'echo "$*" >> ../submitted; wc -l < ../submitted'
    for name, body in (("sbatch", count), ("scontrol", "true"), ("sleep", ""), ("srun", 'echo "srun $*"')):
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run([folder / "jobs" / "submit.sh"], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["first: job 1_0", "second: job 2_1", "third: job 1_2"]
    array, second = (folder / "submitted").read_text().splitlines()
    assert array == "--parsable --array=0,2 --dependency=singleton small.sbatch"
    assert "--array=1 " in second
    assert "--dependency=singleton,afterok:1_0 " in second

    # A task that stopped before its run had its results must not let the next one begin.
    def code_of(task):
        options = {"env": {**environment, "SLURM_ARRAY_TASK_ID": str(task)}, "cwd": folder, "check": False}
        return subprocess.run(["bash", job], **options).returncode

    assert code_of(1) == 1
    expected = "srun reid-jax train --config=configs/swag.py:from=runs/small/first,cycles=2 --workdir=runs/small/second"
    assert expected in (folder / "runs/small/second.log").read_text()
    (folder / "runs" / "small" / "second").mkdir()
    (folder / "runs" / "small" / "second" / "results.json").write_text("{}")
    assert code_of(1) == 0


# sbatch reads its lines so: a quote of either kind, anywhere in a word, and a backslash in and out of them.
def words_of(line):
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split, words.escapedquotes, words.commenters = True, "'\"", "#"
    return list(words)


def test_slurm_gets_paths_names_and_options_with_spaces_whole(folder, capsys, monkeypatch):
    place = folder / 'a "b" c#d'
    place.mkdir()
    (folder / "configs").rename(place / "configs")
    monkeypatch.chdir(place)
    (place / "configs/sweeps/small.py").rename(place / "configs/sweeps/my sweep.py")
    options = "--comment='a  b # c' --time 1:00:00 --export=ALL,A=\"x y\" -J 'the job'"
    line = ["configs/sweeps/my sweep.py", "--out=my runs", "--slurm=my jobs", f"--sbatch={options}"]
    assert launcher.main(line) == 0, capsys.readouterr()
    job = place / "my jobs" / "my sweep.sbatch"
    lines = [line.removeprefix("#SBATCH ") for line in job.read_text().splitlines() if line.startswith("#SBATCH ")]
    assert [word for line in lines for word in words_of(line)] == [
        "--job-name=my sweep",
        f"--output={place}/my jobs/%x-%a.out",
        "--open-mode=append",
        f"--chdir={place}",
        "--requeue",
        "--signal=TERM@180",
        "--comment=a  b # c",
        *("--time", "1:00:00"),
        "--export=ALL,A=x y",
        *("-J", "the job"),
    ]
    (folder / "bin").mkdir()
    (folder / "bin" / "sbatch").write_text(f'#!/bin/bash\nprintf "%s|" "$@" >> {folder}/submitted; echo 7\n')
    (folder / "bin" / "sbatch").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    subprocess.run([place / "my jobs" / "submit.sh"], env=environment, check=True, capture_output=True)
    submitted = (folder / "submitted").read_text().split("|")
    assert submitted.count("my sweep.sbatch") == 2
    assert "--job-name=my sweep-second" in submitted


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("add('a'); add('a')", "two runs are called a"),
        ("add('a/b')", "'a/b' is no folder's"),
        ("add('a', after='runs/b')", "no folder that add\\(\\) has returned"),
        ("1 / 0", "ZeroDivisionError, line 5"),
        ("pass", "adds no run"),
        ("add('a', seeed=1)", "seeed.*did you mean seed"),
        ("add('a', config='nothing.py')", "configs/nothing.py, which is no file"),
    ],
)
def test_a_broken_sweep_is_one_line(folder, capsys, body, words):
    text = "from reid_jax import config\ndef get_config(arg=None):\n    return config.default()\n"
    (folder / "configs/sweeps/small.py").write_text(f"{text}def sweep(add, arg=None):\n    {body}\n")
    code, out, err = walk(capsys, "--run")
    assert (code, out) == (2, "")
    assert err.startswith("launch/sweep.py: error: ")
    assert err.count("\n") == 1
    assert re.search(words, err), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run=0"], "--run is 0"),
        (["--gpus=0,"], "--gpus is '0,'; give the numbers of GPUs"),
        (["--config.seed=7"], "--config.seed is meant for every run, but run first sets seed=1 itself"),
        (["--out=a,b"], "ends at a comma"),
        (["--only=zz*"], "no run is called so: first, other"),
        (["--only=second", "--run"], "starts from first, which is not done"),
        (["--slurm=jobs", "--sbatch=gpu"], "--sbatch begins with 'gpu'"),
    ],
)
def test_bad_options_are_one_line(folder, capsys, arguments, words):
    code, _, err = walk(capsys, *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_a_missing_file_and_one_that_is_no_sweep(folder, capsys):
    assert launcher.main(["configs/sweeps/none.py", "--out=runs"]) == 2
    assert "no file" in capsys.readouterr().err
    assert launcher.main(["configs/common.py", "--out=runs"]) == 2
    assert "defines no sweep(add, arg)" in capsys.readouterr().err
