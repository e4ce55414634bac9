"""What a config is turned into, key by key."""

import numpy as np
import optax
import pytest
from places import ROOT

from reid_jax import config as run_config
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.errors import InputError
from reid_jax.swag import Settings
from reid_jax.training import assemble, optim
from reid_jax.training.losses import Objective


@pytest.fixture
def config():
    return run_config.default()


def turns(config, steps_per_epoch):
    return assemble.turning_points_of(config, assemble.plan_of(config, steps_per_epoch))


def test_the_papers_schedule_turns_after_the_warm_up_and_at_each_boundary_within_the_run(config):
    assert turns(config, 10) == [100, 1500, 2250]
    config.epochs = 200.0
    assert turns(config, 10) == [100, 1500]
    config.schedule.warmup_epochs = 0.0
    assert turns(config, 10) == [1500]
    schedule = assemble.schedule_of(config, 10)
    np.testing.assert_allclose([schedule(0), schedule(1499), schedule(1500)], [3e-2, 3e-2, 3e-3], rtol=1e-6)


def test_cycles_turn_where_the_next_one_begins(config):
    config.schedule.name, config.schedule.cycle_epochs = "cyclic_cosine", 35.0
    config.epochs = 105.0
    assert turns(config, 10) == [350, 700]  # the end of the run begins none
    schedule = assemble.schedule_of(config, 10)
    np.testing.assert_allclose([schedule(0), schedule(350), schedule(700)], 3e-2 * 0.7 ** np.arange(3), rtol=1e-6)


def cyclic(config, cycle_epochs, epochs, collect=True):
    config.schedule.name, config.swag.collect = "cyclic_cosine", collect
    config.schedule.cycle_epochs, config.epochs = cycle_epochs, epochs
    return config


@pytest.mark.parametrize(
    ("cycle_epochs", "cycles", "steps_per_epoch", "cycle"),
    [(35.0, 15, 361, 12635), (3.5, 15, 361, 1264), (2.5, 15, 359, 898), (2.5, 15, 361, 902), (0.5, 15, 3, 2)],
)
def test_a_run_of_whole_cycles_ends_with_the_last_of_them(config, cycle_epochs, cycles, steps_per_epoch, cycle):
    config = cyclic(config, cycle_epochs, cycle_epochs * cycles)
    plan = assemble.plan_of(config, steps_per_epoch)
    assert (plan.cycle, plan.total) == (cycle, cycles * cycle)
    # The rate is that of the same cycles: low at the end of each, high where the next one begins.
    rate = assemble.schedule_of(config, steps_per_epoch)(np.arange(plan.total + 1))
    assert list(np.flatnonzero(np.diff(rate) > 0) + 1) == [*turns(config, steps_per_epoch), plan.total]
    assert assemble.describe_cut_cycle(config, plan) == ""


def test_a_compressed_run_of_cycles_from_scratch_has_all_fifteen():
    config = run_config.load(f"{ROOT / 'configs' / 'tricks.py'}:trick=cyclic,epochs=25")
    assert assemble.plan_of(config, 361).total == 15 * 902


@pytest.mark.parametrize("collect", [True, False])
def test_a_run_that_ends_within_a_cycle_says_so(config, collect):
    config = cyclic(config, 4.0, 11.0, collect)
    plan = assemble.plan_of(config, 10)
    assert (plan.total, turns(config, 10)) == (110, [40, 80])
    text = assemble.describe_cut_cycle(config, plan)
    assert text.startswith("cycles      2 of 40 steps, then 30 steps of another")
    assert ("not collected" in text) == collect
    assert assemble.describe_cut_cycle(run_config.default(), plan) == ""


def test_the_soft_margin_takes_the_place_of_the_hinges(config):
    assert assemble.objective_of(config) == Objective(margin="soft")
    config.loss.soft_margin, config.loss.margin, config.loss.mining = False, 0.5, "batch_hard"
    assert assemble.objective_of(config) == Objective(margin=0.5, mining="batch_hard")


def test_shares_make_a_joined_sampler(config):
    label, origin = np.repeat(np.arange(16), 4), np.repeat([0, 1], 32)
    assert isinstance(assemble.sampler_of(config, label, origin), IdentitySampler)
    config.batch.shares = (3, 5)
    sampler = assemble.sampler_of(config, label, origin)
    assert isinstance(sampler, JoinedSampler)
    assert sampler.batch_size == 32


def test_the_optimiser_moves_parameters_by_the_configs_rates(config):
    config.optimizer.logit_scale_rate, config.optimizer.momentum = 0.25, 0.0
    params = {"fc": {"bias": np.ones(2, np.float32)}, "head": {"log_scale": np.ones((), np.float32)}}
    optimizer = assemble.optimizer_of(config, optax.constant_schedule(2.0), params)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["fc"]["bias"], [-2.0, -2.0])
    np.testing.assert_allclose(updates["head"]["log_scale"], -0.5)


def test_what_no_rule_knows_is_not_decayed_in_a_network_of_ones_own_and_refused_in_ours(config):
    params = {"conv": {"kernel": np.ones(2)}, "position": np.ones(3)}
    with pytest.raises(InputError, match="'position' matches none of the optimiser's rules"):
        optim.resolve_rules(params, assemble.rules_of(config))
    with config.unlocked():
        config.model.name = "my_network:Network"
    resolved = optim.resolve_rules(params, assemble.rules_of(config))
    assert resolved == {"conv/kernel": (True, 1.0), "position": (False, 1.0)}


def test_weights_are_collected_where_the_config_says_so(config):
    assert assemble.swag_of(config) is None
    config.swag.collect, config.swag.rank, config.swag.samples, config.seed = True, 3, 7, 5
    config.swag.scale, config.swag.variance_floor = 0.5, 1e-9
    assert assemble.swag_of(config) == Settings(rank=3, samples=7, seed=5, scale=0.5, variance_floor=1e-9)
