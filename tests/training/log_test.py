"""The training log: what a line and a record tell, and how a loss that is not finite ends it."""

import numpy as np
import pytest

from reid_jax.training.log import TrainingLog
from reid_jax.training.metric_writer import MetricWriter, read_records
from reid_jax.training.plan import Plan

PLAN = Plan(total=8, steps_per_epoch=4, per_dispatch=4, eval_every=8, save_every=8)
NAMES = ("loss", "cross_entropy", "accuracy", "gradient_norm")


def history(**changes):
    """The metrics of a chunk of four steps."""
    return {name: np.ones(4, np.float32) for name in NAMES} | changes


def log_of(folder, names):
    return TrainingLog(PLAN, lambda step: 1e-3, 32, MetricWriter(folder, 0, False), names)


def never(number):
    raise AssertionError("a finite step was looked into")


def test_exponents_stand_in_the_line_and_in_the_record(tmp_path, capsys):
    log = log_of(tmp_path, (*NAMES, "gem_p_global", "gem_p_local"))
    exponents = {"gem_p_global": np.array([3, 3.1, 3.2, 3.3]), "gem_p_local": np.full(4, 2.5)}
    log.push(0, 4, history(**exponents), never)
    log.flush()
    assert "GeM's p 3.15 / 2.50" in capsys.readouterr().out
    (record,) = read_records(tmp_path / "metrics.jsonl")
    assert (record["gem_p_global"], record["gem_p_local"]) == (pytest.approx(3.15), 2.5)


def test_networks_without_gem_tell_nothing_of_it(tmp_path, capsys):
    log = log_of(tmp_path, NAMES)
    log.push(0, 4, history(), never)
    log.flush()
    assert "GeM" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
def test_the_first_step_that_is_not_finite_is_looked_into(tmp_path, capsys, name):
    log, values = log_of(tmp_path, NAMES), np.ones(4, np.float32)
    values[2:] = np.nan
    log.push(0, 4, history(), never)
    log.push(4, 8, history(**{name: values}), lambda number: f"number {number}")
    with pytest.raises(FloatingPointError, match=r"not finite at step 7 .*first was number 2; lower schedule\.peak"):
        log.flush()
    assert "step 7 is not finite; it is taken once more" in capsys.readouterr().out
    assert [record["step"] for record in read_records(tmp_path / "metrics.jsonl")] == [4]
