"""The whole run as a user starts it: what it leaves, that interruptions change nothing, how it refuses and aborts."""

import json
import re
import shutil
import signal
import time

import jax
import numpy as np
import pytest
import rounding
from PIL import Image
from rounding import squared_distances

from reid_jax import config as run_config
from reid_jax import train
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation
from reid_jax.files.json_files import read_json
from reid_jax.training.metric_writer import read_records
from reid_jax.weights import load_weights

# Where rounding makes a decision, it may move a share so far: of 24 queries, or of the 8 images of two streams.
ONE_DECISION = 1 / 16
RESULTS = ("weights.safetensors", "best.safetensors", "metrics.jsonl", "results.json", "ranked.png.json", "config.json")


def contents(workdir):
    return {name: (workdir / name).read_bytes() for name in RESULTS}


def only(results):
    """The scores on the one data set of a run."""
    (scores,) = results.values()
    return scores


def wait_for(process, condition):
    """Waits until `condition()` holds while `process` runs."""
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.kill()
    pytest.fail("the run made no progress")


def test_a_run_leaves_its_files(tiny_run):
    for name in (*RESULTS, "ranked.png", "curves.png"):
        assert (tiny_run / name).stat().st_size > 0, name
    for name in ("ranked.png", "curves.png"):
        with Image.open(tiny_run / name) as image:
            image.load()
    assert not [path for path in tiny_run.iterdir() if path.name.startswith(".")]


def test_its_records_cover_every_step_and_the_loss_falls(tiny_run):
    records = read_records(tiny_run / "metrics.jsonl")
    steps = [record for record in records if "loss" in record]
    validations = [record for record in records if "val_mAP" in record]
    assert [record["step"] for record in validations] == [20, 40, 60, 80]
    assert [record["step"] for record in steps] == list(range(4, 81, 4))
    assert [record["epoch"] for record in validations] == [2.0, 4.0, 6.0, 8.0]
    assert steps[-1]["loss"] < 0.9 * steps[0]["loss"]
    assert steps[-1]["learning_rate"] == pytest.approx(1e-2 * read_json(tiny_run / "config.json")["schedule"]["peak"])


def test_its_results_are_fractions_before_and_after(tiny_run):
    ((name, results),) = read_json(tiny_run / "results.json").items()
    assert name == read_json(tiny_run / "config.json")["dataset"]
    assert set(results) == {"untrained", "trained"}
    for metrics in results.values():
        assert metrics["queries"] == 24
        assert all(0 <= metrics[name] <= 1 for name in ("rank1", "rank5", "mAP", "mAP_trapezoid", "mINP"))
    assert results["trained"] != results["untrained"]


@pytest.fixture(scope="module")
def interrupted(command, tiny_arguments, tmp_path_factory):
    """The tiny run stopped by SIGTERM, resumed, killed by SIGKILL and resumed: (workdir, outputs, exit codes)."""
    workdir = tmp_path_factory.mktemp("runs") / "interrupted"
    arguments = [*tiny_arguments, f"--workdir={workdir}"]
    metrics = workdir / "metrics.jsonl"

    def lines():
        return len(read_records(metrics))

    process = command(*arguments, wait=False)
    wait_for(process, lambda: lines() >= 2)
    process.send_signal(signal.SIGTERM)
    # JAX looks for the signal once a second, when so short a run would be over: hold it for that time.
    time.sleep(0.1)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    stopped = process.communicate(timeout=300)[0]
    codes, before = [process.returncode], lines()
    shutil.copy(workdir / "stopped.safetensors", workdir.parent)
    assert not (workdir / "weights.safetensors").exists()  # it would pass for those of a run that has ended

    process = command(*arguments, wait=False)
    wait_for(process, lambda: lines() >= before + 3)
    process.kill()
    killed = process.communicate(timeout=300)[0]
    codes.append(process.returncode)

    done = command(*arguments)
    return workdir, (stopped, killed, done.stdout + done.stderr), (*codes, done.returncode)


def test_sigterm_saves_says_so_and_exits_with_0(interrupted):
    _, (stopped, killed, _), codes = interrupted
    assert codes[0] == 0, stopped
    (line,) = [line for line in stopped.splitlines() if line.startswith("stopped at step")]
    step = line.split()[3]
    assert 8 <= int(step) < 80
    assert "the same command resumes the run" in line
    assert f"resumed at step {step} of 80" in killed


def test_a_stopped_run_leaves_weights_that_can_be_scored(interrupted):
    workdir, *_ = interrupted
    so_far, last = load_weights(workdir.parent / "stopped.safetensors"), load_weights(workdir)
    assert jax.tree.structure(so_far.variables) == jax.tree.structure(last.variables)
    kernels = [weights.variables["params"]["conv1"]["kernel"] for weights in (so_far, last)]
    assert not np.array_equal(*kernels)
    assert not (workdir / "stopped.safetensors").exists()


def test_a_killed_run_resumes(interrupted):
    _, (_, _, finished), codes = interrupted
    assert codes[1] == -signal.SIGKILL
    assert codes[2] == 0, finished
    assert "resumed at step" in finished


def test_interruptions_change_no_byte_of_the_results(interrupted, tiny_run):
    workdir, *_ = interrupted
    assert contents(workdir) == contents(tiny_run)


def test_the_command_of_a_finished_run_changes_nothing_nor_does_a_picture_that_fails(
    command, tiny_arguments, tiny_run, tmp_path, monkeypatch
):
    before = contents(tiny_run)
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    done = command(*tiny_arguments, f"--workdir={tiny_run}")
    assert done.returncode == 0, done.stderr
    assert "resumed at step 80 of 80" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("no curves.png: matplotlib cannot be loaded: UnicodeDecodeError")
    assert "Traceback" not in done.stderr
    assert contents(tiny_run) == before


def test_a_picture_that_cannot_be_drawn_is_told_and_hinders_none(tmp_path, monkeypatch, capsys):
    def fails(path, *_, **__):
        raise InputError(f"{path.name} cannot be drawn: no ink")

    monkeypatch.setattr(train.visualize, "draw_sheet", fails)
    monkeypatch.setattr(train.visualize, "training_curves", fails)
    evaluation = Evaluation(None, None, None, None, None, None)
    train._draw(tmp_path, run_config.default(), None, None, evaluation, [])
    assert capsys.readouterr().out.splitlines() == [
        "no ranked.png: ranked.png cannot be drawn: no ink",
        "no curves.png: curves.png cannot be drawn: no ink",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "csv:misspelt.csv"}, "misspelt.csv"),
        ({"batch.identities": 400}, "a batch holds 400 identities"),
        ({"init_from": "/nowhere/at/all"}, "/nowhere/at/all does not exist"),
        ({"model.name": "resnet"}, "'resnet'"),
    ],
    ids=str,
)
def test_a_run_that_cannot_start_leaves_nothing(tiny_run, tmp_path, changes, words):
    config = run_config.from_dict(read_json(tiny_run / "config.json"))
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        train.train_and_evaluate(config, tmp_path / "new" / "run")
    assert not any(tmp_path.iterdir())


def test_another_config_in_a_runs_workdir_is_refused_by_key_and_values(command, tiny_arguments, tiny_run):
    before = contents(tiny_run)
    done = command(*tiny_arguments, f"--workdir={tiny_run}", "--config.seed=1")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("reid-jax train: error:")
    assert "(seed: 0 -> 1)" in line
    assert contents(tiny_run) == before


def test_a_foreign_folder_is_refused(command, tiny_arguments, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = command(*tiny_arguments, f"--workdir={tmp_path}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "is not empty and is no workdir of a run" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_loss_that_is_not_finite_ends_the_run_naming_the_step(command, tiny_arguments, tmp_path):
    spoilt = "--config.schedule.peak=1e30", "--config.model.regions=False"  # without regions less is compiled
    done = command(*tiny_arguments, f"--workdir={tmp_path / 'run'}", *spoilt)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("reid-jax train: error: the loss or its gradient is not finite at step ")
    assert 2 <= int(line.split(" at step ")[1].split()[0]) <= 4
    assert re.search(r"; not finite first was the (input of|output of|parameter) [\w/]+; lower schedule\.peak", line)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert not [path for path in (tmp_path / "run").glob("checkpoints/*") if path.name.isdigit()]


def test_four_devices_train_as_one_but_for_rounding(command, tiny_arguments, one_step_run, tmp_path):
    # One step: later ones magnify the rounding.
    folders = one_step_run, tmp_path / "four"
    done = command(*tiny_arguments, f"--workdir={folders[1]}", "--config.epochs=0.1", devices=4)
    assert done.returncode == 0, done.stderr
    assert "4 x cpu" in done.stdout
    one, four = (read_records(folder / "metrics.jsonl")[0] for folder in folders)
    assert one["step"] == 1
    assert four.pop("accuracy") == pytest.approx(one.pop("accuracy"), abs=ONE_DECISION)
    assert four == pytest.approx(one, rel=1e-4)
    before = [only(read_json(folder / "results.json"))["untrained"] for folder in folders]
    assert before[0] == pytest.approx(before[1], abs=ONE_DECISION)
    pairs = [jax.tree.leaves(load_weights(folder).variables) for folder in folders]
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_evaluate_gives_the_same_json_on_one_and_four_devices(command, tiny_run, tmp_path):
    reports, descriptors = [], []
    for devices in (1, 4):
        file, stored = tmp_path / f"{devices}.json", tmp_path / f"{devices}.npz"
        arguments = (f"--weights={tiny_run}", f"--json={file}", f"--embeddings={stored}")
        done = command("evaluate", *arguments, devices=devices)
        assert done.returncode == 0, done.stderr
        assert "24 queries x 56 gallery images" in done.stdout
        reports.append(json.loads(file.read_text()))
        with np.load(stored) as arrays:
            descriptors.append(dict(arrays))
    assert reports[0]["metrics"] == only(read_json(tiny_run / "results.json"))["trained"]
    one, four = descriptors
    for name, array in one.items():
        if array.dtype == np.float32:
            np.testing.assert_allclose(array, four[name], atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(array, four[name], err_msg=name)
    # Descriptors differ by rounding. Where that orders two distances, and only there, metrics may differ: by how much
    # depends on the processor that trained.
    moved = np.abs(squared_distances(one) - squared_distances(four)).max() + rounding.PRODUCT
    assert moved < 1e-4
    least, most = rounding.possible_metrics(one, moved)
    for report in reports:
        metrics = report.pop("metrics") | report.pop("verification")
        metrics["equal_error_rate"] = -metrics["equal_error_rate"]
        for name, lowest in least.items():
            assert lowest - 1e-9 <= metrics[name] <= most[name] + 1e-9, name
    assert reports[0] == reports[1]
