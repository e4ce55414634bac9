"""When a run evaluates, saves and collects weights: steps from the epochs of its config."""

import dataclasses


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
