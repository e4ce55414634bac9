"""When a run evaluates, saves and collects weights: steps from the epochs of its config."""

import dataclasses

from ml_collections import ConfigDict

from reid_jax.errors import InputError

_MOST_STEPS = 2**31 - 1  # the state counts them as int32


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a run: their number, and those after which it evaluates, saves or collects weights."""

    total: int
    steps_per_epoch: int
    per_dispatch: int
    eval_every: int
    save_every: int
    cycle: int | None = None  # steps of a cycle whose last weights are collected

    def next_stop(self, step: int) -> int:
        """The last step of the chunk that begins after `step`."""
        every = filter(None, (self.eval_every, self.save_every, self.cycle))
        return min(step + self.per_dispatch, self.total, *(step + each - step % each for each in every))

    def ends_cycle(self, step: int) -> bool:
        """Whether weights are collected after `step`."""
        return self.cycle is not None and step % self.cycle == 0

    def evaluates(self, step: int) -> bool:
        """Whether the held-out identities are scored after `step`."""
        return step % self.eval_every == 0 or step == self.total

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after `step`."""
        return step % self.save_every == 0 or self.evaluates(step) or self.ends_cycle(step)


def plan_of(config: ConfigDict, steps_per_epoch: int) -> Plan:
    """Returns the plan that `config` describes; every interval is at least one step.

    Raises InputError for more steps than an int32 counts.
    """

    def steps(epochs: float) -> int:
        return max(1, round(epochs * steps_per_epoch))

    if steps(config.epochs) > _MOST_STEPS:
        raise InputError(
            f"config.epochs is {config.epochs:g}, with {steps_per_epoch:,} steps an epoch {steps(config.epochs):,} "
            f"steps; a run has at most {_MOST_STEPS:,}"
        )

    return Plan(
        steps(config.epochs),
        steps_per_epoch,
        config.steps_per_dispatch,
        steps(config.eval_every),
        steps(config.checkpoint_every),
        steps(config.schedule.cycle_epochs) if config.swag.collect else None,
    )
