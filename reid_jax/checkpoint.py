"""Checkpoints of a run: asynchronous, atomic, the latest few and the best by validation. The only user of Orbax."""

import os
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers as managers

from reid_jax import parallel
from reid_jax.state import TrainState


class Checkpoints:
    """The folder `directory` of a run's checkpoints, numbered by step.

    A checkpoint is written beside its final name and renamed when complete: a run killed at any moment resumes
    from the last complete one.
    """

    def __init__(self, directory: str | os.PathLike, keep: int):
        """`keep`: how many of the latest stay; the best by the metric given to `save` stays besides."""
        policy = managers.AnyPreservationPolicy(
            [
                managers.LatestN(keep),
                managers.BestN(
                    get_metric_fn=lambda metrics: metrics["best_by"],
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            Path(directory).resolve(),
            options=ocp.CheckpointManagerOptions(preservation_policy=policy, enable_async_checkpointing=True),
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
        metrics = None if best_by is None else {"best_by": best_by}
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics, force=True)

    def restore(self, like: TrainState, mesh: Mesh) -> TrainState:
        """Restores the newest checkpoint onto `mesh`, replicated; `like` gives the tree, shapes and dtypes."""
        sharding = parallel.replicated(mesh)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
        return self._manager.restore(self.latest, args=ocp.args.StandardRestore(target))

    def best(self) -> float | None:
        """The highest metric among the checkpoints; None where none was saved with one."""
        metrics = [self._manager.metrics(step) for step in self._manager.all_steps()]
        return max((m["best_by"] for m in metrics if m), default=None)

    def told_to_stop(self, step: int) -> bool:
        """Whether SIGTERM came, to any process of the run: all of them agree on the step."""
        return self._manager.reached_preemption(step)

    def close(self) -> None:
        """Waits for what is being saved."""
        self._manager.wait_until_finished()
        self._manager.close()
