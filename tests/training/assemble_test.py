"""What a config is turned into, key by key."""

import numpy as np
import optax
import pytest

from reid_jax import config as run_config
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.errors import InputError
from reid_jax.swag import Settings
from reid_jax.training import assemble, optim
from reid_jax.training.losses import Objective


@pytest.fixture
def config():
    return run_config.default()


def test_the_papers_schedule_turns_after_the_warm_up_and_at_each_boundary_within_the_run(config):
    assert assemble.turning_points_of(config) == [10, 150, 225]
    config.epochs = 200.0
    assert assemble.turning_points_of(config) == [10, 150]
    config.schedule.warmup_epochs = 0.0
    assert assemble.turning_points_of(config) == [150]
    schedule = assemble.schedule_of(config, 10)
    np.testing.assert_allclose([schedule(0), schedule(1499), schedule(1500)], [3e-2, 3e-2, 3e-3], rtol=1e-6)


def test_cycles_turn_where_the_next_one_begins(config):
    config.schedule.name, config.schedule.cycle_epochs = "cyclic_cosine", 35.0
    config.epochs = 105.0
    assert assemble.turning_points_of(config) == [35, 70]  # the end of the run begins none
    schedule = assemble.schedule_of(config, 10)
    np.testing.assert_allclose([schedule(0), schedule(350), schedule(700)], 3e-2 * 0.7 ** np.arange(3), rtol=1e-6)


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
