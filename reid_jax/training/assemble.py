"""From a run's config to the objects that it describes: the only place that builds one of several keys."""

import math
from typing import Any

import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from reid_jax import swag
from reid_jax.data.augment import Augmentation
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.data.split import Split, StoredSplit
from reid_jax.errors import InputError
from reid_jax.models.own_class import is_own
from reid_jax.training import data, optim
from reid_jax.training.losses import Objective
from reid_jax.training.plan import Plan
from reid_jax.training.sources import ResidentSource, Sampler, StreamedSource

_MOST_STEPS = 2**31 - 1  # the state counts them as int32


def data_of(
    config: ConfigDict,
) -> tuple[Split | StoredSplit, data.Pair | None, dict[str, list[StoredSplit]]]:
    """Returns what a run trains on, chooses by and is scored on, as `data.load_data` does."""
    return data.load_data(
        config.dataset,
        config.test_dataset,
        config.data_dir,
        config.image_size,
        config.val_identities,
        config.train_images,
    )


def training_data_of(config: ConfigDict) -> tuple[Split | StoredSplit, data.Pair | None]:
    """Returns what a run trains on and chooses by, as `data.load_training` does."""
    return data.load_training(
        config.dataset, config.data_dir, config.image_size, config.val_identities, config.train_images
    )


def source_of(
    config: ConfigDict, train: Split | StoredSplit, label: np.ndarray, sampler: Sampler, steps: int, mesh: Mesh
) -> ResidentSource | StreamedSource:
    """Returns where the batches of a run of `steps` steps come from; `label` int [n] is the class of each image."""
    shared = (label.astype(np.int32), sampler, config.seed, config.steps_per_dispatch, mesh)
    if isinstance(train, Split):
        return ResidentSource(train, *shared)
    return StreamedSource(train, *shared, steps=steps, workers=config.stream_workers)


def schedule_of(config: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Returns the learning-rate schedule, step -> rate, that `config.schedule` describes."""
    s = config.schedule
    if s.name == "cyclic_cosine":
        return optim.cyclic_cosine_schedule(
            peak=s.peak,
            cycle_epochs=s.cycle_epochs,
            steps_per_epoch=steps_per_epoch,
            decay=s.cycle_decay,
            floor=s.floor,
        )
    return optim.warmup_step_schedule(
        peak=s.peak,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=s.warmup_epochs,
        boundaries=s.boundaries,
        factor=s.factor,
    )


def turning_points_of(config: ConfigDict, plan: Plan) -> list[int]:
    """Returns the first steps, from 0, after the learning rate of `config.schedule` changed its course in the run."""
    s = config.schedule
    if s.name == "cyclic_cosine":
        cycle = optim.steps_of(s.cycle_epochs, plan.steps_per_epoch)
        return list(range(cycle, plan.total, cycle))
    turns = [optim.turn_of(epoch, plan.steps_per_epoch) for epoch in (s.warmup_epochs, *s.boundaries)]
    return [step for step in turns if 0 < step <= plan.total]


def optimizer_of(config: ConfigDict, schedule: optax.Schedule, params: Any) -> optax.GradientTransformation:
    """Returns the optimiser that `config.optimizer` describes, for parameters like `params`."""
    return optim.optimizer(
        schedule,
        params=params,
        momentum=config.optimizer.momentum,
        nesterov=config.optimizer.nesterov,
        weight_decay=config.optimizer.weight_decay,
        rules=rules_of(config),
    )


def objective_of(config: ConfigDict) -> Objective:
    """Returns the loss that `config.loss` describes."""
    fields = config.loss.to_dict()
    soft = fields.pop("soft_margin")
    return Objective(**{**fields, "margin": "soft" if soft else fields["margin"]})


def rules_of(config: ConfigDict) -> list[optim.Rule]:
    """Returns the optimiser's rules: which parameters decay, and at which multiple of the rate they move.

    A user's own network may name its parameters as it likes: those that no rule knows are decayed with all alone.
    """
    o = config.optimizer
    rules = optim.default_rules(
        scale_rate=o.logit_scale_rate, regions_rate=o.regions_rate, pooling_rate=o.pooling_rate, decayed=o.decayed
    )
    return rules + [(".*", o.decayed == optim.ALL, 1.0)] * is_own(config.model.name)


def augmentation_of(config: ConfigDict) -> Augmentation:
    """Returns the augmentation that `config.augment` describes."""
    return Augmentation(**config.augment.to_dict())


def sampler_of(config: ConfigDict, label: np.ndarray, origin: np.ndarray) -> IdentitySampler | JoinedSampler:
    """Returns the sampler that `config.batch` describes, for the labels and data sets int [n] of training images."""
    if config.batch.shares:
        return JoinedSampler(label, origin, config.batch.shares, config.batch.images)
    return IdentitySampler(label, config.batch.identities, config.batch.images)


def plan_of(config: ConfigDict, steps_per_epoch: int) -> Plan:
    """Returns the plan that `config` describes; every interval is at least one step.

    A run of whole cycles has as many steps as they have, each rounded by itself, so that it ends with the last of them.
    Raises InputError for more steps than an int32 counts.
    """

    def steps(epochs: float) -> int:
        return optim.steps_of(epochs, steps_per_epoch)

    s = config.schedule
    total, cycle = steps(config.epochs), steps(s.cycle_epochs)
    if s.name == "cyclic_cosine" and s.cycle_epochs * steps_per_epoch >= 1:
        cycles = config.epochs / s.cycle_epochs
        total = round(cycles) * cycle if math.isclose(cycles, round(cycles)) else total
    if total > _MOST_STEPS:
        raise InputError(
            f"config.epochs is {config.epochs:g}, with {steps_per_epoch:,} steps an epoch {total:,} steps; a run has "
            f"at most {_MOST_STEPS:,}"
        )

    return Plan(
        total,
        steps_per_epoch,
        config.steps_per_dispatch,
        steps(config.eval_every),
        steps(config.checkpoint_every),
        cycle if config.swag.collect else None,
    )


def describe_cut_cycle(config: ConfigDict, plan: Plan) -> str:
    """Returns a line that counts the cycles of a run that ends within one, for its start; '' for any other run."""
    cycle = optim.steps_of(config.schedule.cycle_epochs, plan.steps_per_epoch)
    whole, left = divmod(plan.total, cycle)
    if config.schedule.name != "cyclic_cosine" or not left:
        return ""
    collected = ", whose weights are not collected" if config.swag.collect else ""
    return (
        f"cycles      {whole} of {cycle:,} steps, then {left:,} steps of another{collected}: config.epochs="
        f"{config.epochs:g} is no whole number of config.schedule.cycle_epochs={config.schedule.cycle_epochs:g}"
    )


def swag_of(config: ConfigDict) -> swag.Settings | None:
    """Returns how `config.swag` collects and samples weights; None where none are collected."""
    s = config.swag
    if not s.collect:
        return None
    return swag.Settings(s.rank, s.samples, config.seed, s.scale, s.variance_floor)
