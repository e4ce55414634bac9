"""Checkpoints of a run: asynchronous, atomic, the latest few and the best by validation. The only user of Orbax."""

import logging
import math
import os
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers as managers

from reid_jax import parallel, signals
from reid_jax.errors import disk_failure
from reid_jax.state import TrainState


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of Orbax's log says more than the next save or `close` raises: not so of a full disk."""
    return not (record.exc_info and record.exc_info[1] and disk_failure(record.exc_info[1]))


class Checkpoints:
    """The folder `directory` of a run's checkpoints, numbered by step.

    A checkpoint is written beside its final name and renamed when complete: a run killed at any moment resumes
    from the last complete one.
    """

    def __init__(self, directory: str | os.PathLike, keep: int):
        """`keep`: how many of the latest stay; the best by the metric given to `save` stays besides."""
        self._chunks = 0
        logging.getLogger("absl").addFilter(_is_news)

        def best_by(metrics):
            return -math.inf if metrics["best_by"] is None else metrics["best_by"]

        policy = managers.AnyPreservationPolicy(
            [
                managers.LatestN(keep),
                managers.BestN(get_metric_fn=best_by, n=1),  # the latest of equals: none extra without metrics
            ]
        )
        self._manager = ocp.CheckpointManager(
            Path(directory).resolve(),
            # Without `best_fn` the metrics are not written beside the checkpoints.
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy, best_fn=best_by, enable_async_checkpointing=True
            ),
        )

    @property
    def latest(self) -> int | None:
        """The step of the newest complete checkpoint; None without one."""
        return self._manager.latest_step()

    def save(self, state: TrainState, best_by: float | None = None) -> None:
        """Starts saving `state`; returns once it is copied from the devices. `best_by`: higher is better."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics={"best_by": best_by}, force=True)

    def restore(self, like: TrainState, mesh: Mesh) -> TrainState:
        """Restores the newest checkpoint onto `mesh`, replicated; `like` gives the tree, shapes and dtypes."""
        sharding = parallel.replicated(mesh)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
        return self._manager.restore(self.latest, args=ocp.args.StandardRestore(target))

    def best(self) -> float | None:
        """The highest metric among the checkpoints; None where none was saved with one."""
        metrics = [self._manager.metrics(step) for step in self._manager.all_steps()]
        return max((m["best_by"] for m in metrics if m and m["best_by"] is not None), default=None)

    def told_to_stop(self) -> bool:
        """Whether SIGTERM came, to any process of the run; called once a chunk, it is True in the same one for all.

        From the first call on it is for the run to end itself: see `reid_jax.signals`.
        """
        signals.saved_by_the_run()
        # The processes agree on the highest number that any of them has given, plus one: it has to come.
        self._chunks += 1
        return self._manager.reached_preemption(self._chunks)

    def close(self) -> None:
        """Waits for what is being saved."""
        self._manager.wait_until_finished()
        self._manager.close()
