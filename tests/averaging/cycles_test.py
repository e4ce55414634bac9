"""The second phase as a user runs it: what it leaves, that a stop within a cycle changes nothing, and its refusals."""

import jax
import numpy as np
import pytest
from made_place import two_cameras
from places import ROOT

from reid_jax import config as run_config
from reid_jax import swag
from reid_jax.averaging import samples as model_average
from reid_jax.errors import InputError
from reid_jax.files.json_files import read_json
from reid_jax.main import main
from reid_jax.train import train_and_evaluate
from reid_jax.training.checkpoint import Checkpoints
from reid_jax.training.metric_writer import read_records
from reid_jax.weights import AVERAGED, load_weights

SWAG = ROOT / "configs" / "swag.py"


def second_phase(run):
    """Two cycles of one epoch, ten steps each in chunks of four: a chunk ends in mid-cycle."""
    config = run_config.load(f"{SWAG}:from={run},cycles=2,cycle_epochs=1,rank=2,samples=2")
    config.eval_every = config.checkpoint_every = 2.0
    return config


@pytest.fixture(scope="module")
def finished(tiny_run, tmp_path_factory):
    """The workdir of a finished second phase, and its results."""
    workdir = tmp_path_factory.mktemp("phase") / "whole"
    return workdir, train_and_evaluate(second_phase(tiny_run), workdir)


def test_it_takes_over_the_first_phases_config(tiny_run):
    config, first = second_phase(tiny_run), read_json(tiny_run / "config.json")
    assert config.dataset == first["dataset"]
    assert config.model.to_dict() | {"widths": [16, 16, 32], "repeats": [1, 0, 0]} == first["model"]
    assert (config.schedule.name, config.swag.collect, config.init_from) == ("cyclic_cosine", True, str(tiny_run))


def test_its_first_phase_may_lie_below_the_home(tiny_run, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_run.parent))
    config = run_config.load(f"{SWAG}:from=~/{tiny_run.name},cycles=2,cycle_epochs=1")
    assert load_weights(config.init_from).config == load_weights(tiny_run).config


def test_it_scores_last_swa_and_swag_at_the_end_of_each_cycle(finished):
    workdir, results = finished
    ends = [record for record in read_records(workdir / "metrics.jsonl") if "swag_mAP" in record]
    assert [record["epoch"] for record in ends] == [1.0, 2.0]
    for record in ends:
        assert {f"{name}_{key}" for name in ("last", "swa", "swag") for key in ("rank1", "mAP")} <= set(record)
    # After one cycle the mean is the last weights, but with statistics of its own.
    (scores,) = results.values()
    assert list(scores) == ["start", "trained", "swa", "swag"]
    assert read_json(workdir / "results.json") == results


def test_it_leaves_the_mean_and_the_moments(finished, tiny_run):
    averaged = load_weights(finished[0], AVERAGED)
    assert int(averaged.moments.count) == 2
    last, first = load_weights(finished[0]).variables["params"], load_weights(tiny_run).variables["params"]
    for mean, variance, columns, end in zip(
        *map(
            jax.tree.leaves,
            (averaged.variables["params"], averaged.moments.variance, averaged.moments.deviations, last),
        ),
        strict=True,
    ):
        # With two weights a and b the mean is m = (a + b) / 2, the variance (b - m)^2, and the last deviation b - m.
        np.testing.assert_allclose(variance, (end - mean) ** 2, rtol=1e-2, atol=1e-9)
        np.testing.assert_allclose(columns[1], end - mean, rtol=1e-4, atol=1e-6)
    moved = [np.abs(a - b).max() for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(first), strict=True)]
    assert max(moved) > 1e-3
    assert jax.eval_shape(swag.sample, averaged.moments, jax.random.key(0)).keys() == last.keys()


def test_a_stop_within_a_cycle_changes_no_byte(finished, tiny_run, tmp_path, monkeypatch):
    calls = []

    def stop_at_the_second_chunk_of_the_second_cycle(self):
        calls.append(self)
        return len(calls) == 5

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "stop_requested", stop_at_the_second_chunk_of_the_second_cycle)
        assert train_and_evaluate(second_phase(tiny_run), tmp_path / "run") is None
    assert 10 < max(int(path.name) for path in (tmp_path / "run" / "checkpoints").glob("[0-9]*")) < 20
    train_and_evaluate(second_phase(tiny_run), tmp_path / "run")
    for name in ("weights.safetensors", AVERAGED, "metrics.jsonl", "results.json"):
        assert (tmp_path / "run" / name).read_bytes() == (finished[0] / name).read_bytes(), name


def test_several_test_sets_share_samples_and_the_last_cycles_scores(tiny_run, tmp_path, monkeypatch):
    recalibrations, original = [], model_average.recalibrate

    def counted(*arguments, **options):
        recalibrations.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(model_average, "recalibrate", counted)
    config = second_phase(tiny_run)
    # As many people as the other runs train on beside those they hold out: what those have compiled is used again.
    config.dataset = config.dataset.replace("train_identities=14", "train_identities=10")
    config.val_identities = 0
    config.epochs = config.schedule.cycle_epochs
    config.test_dataset = f"{config.dataset}+{config.dataset},seed=1"
    results = train_and_evaluate(config, tmp_path)
    # The end of the cycle: the mean and two samples; the end of the run: two samples for the second set alone.
    assert len(recalibrations) == 3 + 2
    (end,) = [record for record in read_records(tmp_path / "metrics.jsonl") if "swag_mAP" in record]
    first, second = results.values()
    for name in ("swa", "swag"):
        assert end[f"{name}_mAP"] == first[name]["mAP"]
        assert first[name] != second[name]
    # Resumed at its end the run has no scores to use again, and draws samples once for both sets.
    recalibrations.clear()
    assert train_and_evaluate(config, tmp_path) == results
    assert len(recalibrations) == 3


def test_evaluate_averages_the_samples_and_tells_their_risk(finished, command, tmp_path):
    files = tmp_path / "e.npz", tmp_path / "e.json"
    done = command(
        "evaluate", f"--weights={finished[0]}", "--swag_samples=2", f"--embeddings={files[0]}", f"--json={files[1]}"
    )
    assert done.returncode == 0, done.stderr
    assert "area under risk-coverage by: spread" in done.stdout
    report = read_json(files[1])
    (scores,) = finished[1].values()
    assert report["metrics"] == scores["swag"]
    area = report["risk_coverage"]["area"]
    assert area["oracle"] <= area["spread"]
    with np.load(files[0]) as stored:
        assert (stored["query_spread"] > 0).all()
        assert stored["query_spread"].shape == (24,)
        np.testing.assert_allclose(np.linalg.norm(stored["gallery_embedding"], axis=1), 1, rtol=1e-5)


def test_samples_that_disagree_are_a_reason_to_call_somebody_new(finished, tmp_path, capsys):
    cameras = [str(folder) for folder in two_cameras(tmp_path)]
    of_samples = (f"--weights={finished[0]}", "--swag_samples=2")
    assert main(["track", "calibrate", *cameras, *of_samples, "--rates", "0.9"]) == 0
    said = capsys.readouterr().out
    assert "visits of a larger spread" in said
    place = ["track", "reenter", *cameras, "--cut_truth"]
    results = tmp_path / "people.txt"
    for most, people in ((1, 2), (0, 4)):
        assert main([*place, *of_samples, "--threshold=2", f"--results={results}", f"--most_spread={most}"]) == 0
        assert f"4 visits of {people} people" in capsys.readouterr().out
    for options, told in (
        (["--weights=a", "--most_spread=0.2"], "give --swag_samples too"),
        (["--embedder=histogram", "--swag_samples=2"], "give --weights=RUN of a second phase"),
        (["--weights=a", "--data_dir=data"], "that --swag_samples needs"),
    ):
        assert main([*place, "--threshold=1", f"--results={results}", *options]) == 2
        assert told in capsys.readouterr().err


def test_what_cannot_be_continued_is_told(tiny_run, tmp_path, command):
    with pytest.raises(InputError, match="name its workdir"):
        run_config.load(str(SWAG))
    with pytest.raises(InputError, match=r"'/nowhere', which is no run's workdir"):
        run_config.load(f"{SWAG}:from=/nowhere")
    done = command("evaluate", f"--weights={tiny_run}", "--swag_samples=2")
    assert done.returncode == 2
    assert "its run collected no weights" in done.stderr
    config = second_phase(tiny_run)
    config.model.global_width = 8
    with pytest.raises(InputError, match=r"another network \(its config differs in model.global_width\)"):
        train_and_evaluate(config, tmp_path / "a")
    config = second_phase(tiny_run)
    config.schedule.cycle_epochs = 9.0
    with pytest.raises(InputError, match="cycles of 9 epochs, but the run has 2"):
        train_and_evaluate(config, tmp_path / "b")
    config.schedule.name = "warmup_step"
    with pytest.raises(InputError, match="needs config.schedule.name 'cyclic_cosine'"):
        run_config.check(config)
