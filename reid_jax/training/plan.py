"""When a run evaluates, saves and collects weights, counted in steps."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plan:
    """The number of a run's steps, and those after which it evaluates, saves or collects weights.

    Steps are taken in chunks, each in one dispatch: a chunk ends after `per_dispatch` steps, or before, where something
    is due. A run that was interrupted takes the same chunks from there on.
    """

    total: int
    steps_per_epoch: int
    per_dispatch: int
    eval_every: int  # steps from one evaluation on the held-out identities to the next
    save_every: int  # steps from one checkpoint to the next
    cycle: int | None = None  # steps of a cycle at whose end weights are collected; None for none

    def next_stop(self, step: int) -> int:
        """The last step of the chunk that begins after `step`."""
        intervals = filter(None, (self.eval_every, self.save_every, self.cycle))
        due = [step + interval - step % interval for interval in intervals]  # the next multiple of each
        return min(step + self.per_dispatch, self.total, *due)

    def ends_cycle(self, step: int) -> bool:
        """Whether weights are collected after `step`."""
        return self.cycle is not None and step % self.cycle == 0

    def evaluates(self, step: int) -> bool:
        """Whether the held-out identities are scored after `step`."""
        return step % self.eval_every == 0 or step == self.total

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after `step`."""
        return step % self.save_every == 0 or self.evaluates(step) or self.ends_cycle(step)
