"""A run whose training images stay on disk: the numbers of one that holds them, and a stop changes nothing."""

import numpy as np
import pytest
from places import TINY_CONFIG

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.train import train_and_evaluate
from reid_jax.training.checkpoint import Checkpoints
from reid_jax.training.metric_writer import read_records


def test_it_takes_the_same_steps_stopped_or_not(tiny_run, data_dir, tmp_path, monkeypatch, capsys):
    config = run_config.load(str(TINY_CONFIG), [f"--config.data_dir={data_dir}", "--config.train_images=streamed"])
    config.epochs = 2.0
    stops = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "stop_requested", lambda self: next(stops))
        assert train_and_evaluate(config, tmp_path) is None
    assert train_and_evaluate(config, tmp_path)
    said = capsys.readouterr().out
    assert "images      streamed from disk: 126 of 64x32 pixels" in said
    assert "resumed at step 8 of 20" in said
    steps, held = (
        [record for record in read_records(folder / "metrics.jsonl") if "loss" in record]
        for folder in (tmp_path, tiny_run)
    )
    assert [record["step"] for record in steps] == [4, 8, 12, 16, 20]
    for one, other in zip(steps, held, strict=False):
        for name in ("loss", "gradient_norm", "learning_rate"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-2)
    assert steps[0]["loss"] == pytest.approx(held[0]["loss"], rel=1e-4)


def test_without_the_package_it_is_told_what_to_install(data_dir, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "grain", None)
    config = run_config.load(str(TINY_CONFIG), [f"--config.data_dir={data_dir}", "--config.train_images=streamed"])
    with pytest.raises(InputError, match="reid_jax\\[stream\\].*config.train_images=resident"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
