"""Checkpoints of a run: asynchronous, atomic, the latest few and the best by validation. The only user of Orbax."""

import glob
import logging
import os
import re
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers as managers

from reid_jax import parallel
from reid_jax.errors import InputError, disk_failure, first_few, shown
from reid_jax.files.json_files import read_json
from reid_jax.processes import signals
from reid_jax.training.best import best_step
from reid_jax.training.log import say
from reid_jax.training.seal import damage, seal
from reid_jax.training.state import TrainState

_ABOUT = "_CHECKPOINT_METADATA"
_DAMAGED = "damaged-"  # before the name of what is set aside: Orbax takes it for no checkpoint


def recover(directory: Path) -> None:
    """Sets aside what stands for a checkpoint in `directory` and is damaged, a line for each: the sound ones are left.

    A checkpoint is sound where its bytes are what was written (`reid_jax.training.seal`). Nothing is removed: `40`
    becomes `damaged-40`. One process calls this, before any opens the folder.
    Raises InputError where there are checkpoints and none is sound.
    """
    wrong = {folder: _damage(folder) for folder in _numbered(directory)}
    sound = [folder for folder, why in wrong.items() if why is None]
    damaged = {folder: why for folder, why in wrong.items() if why is not None}
    if not sound and (damaged or any(directory.glob(f"{_DAMAGED}*"))):
        reasons = first_few([f"{folder.name}: {why}" for folder, why in damaged.items()], "; ")
        raise InputError(
            f"no checkpoint in {shown(directory)} is sound ({reasons or f'all are set aside as {_DAMAGED}*'}); put a "
            "copy of one there, or remove that folder, and the same command starts the run from its first step"
        )
    for folder, why in damaged.items():
        aside = _free(folder.with_name(_DAMAGED + folder.name))
        try:
            folder.rename(aside)
        except OSError as error:
            raise InputError(
                f"cannot rename the damaged checkpoint {shown(folder)} ({why}): {error.strerror}; move it away"
            ) from error
        say(f"checkpoint {folder.name} is damaged ({why}), now {aside.name}; resuming from {sound[-1].name}")


def has_checkpoint(directory: Path) -> bool:
    """Whether the folder holds a checkpoint to resume from."""
    return bool(_numbered(directory))


def _numbered(directory: Path) -> list[Path]:
    """What Orbax takes for checkpoints, by step."""
    try:
        folders = [path for path in directory.iterdir() if re.fullmatch(r"0|[1-9]\d*", path.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"cannot read checkpoints in {shown(directory)}: {error.strerror}; mend or remove it"
        ) from error
    return sorted(folders, key=lambda path: int(path.name))


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None where nothing is."""
    why = damage(folder, {"step": int(folder.name)})
    if why is not None:
        return why
    # Changed by Orbax after the seal, so not under it.
    try:
        about = read_json(folder / _ABOUT)
    except InputError as error:
        return str(error)
    return None if isinstance(about, dict) else f"{_ABOUT} is {'missing' if about is None else 'no object'}"


def _free(path: Path) -> Path:
    """The path, or the first of PATH-2, PATH-3, ... that does not exist."""
    count, free = 1, path
    while free.exists():
        count += 1
        free = path.with_name(f"{path.name}-{count}")
    return free


def _handler(directory: Path) -> ocp.StandardCheckpointHandler | None:
    """What writes the arrays; None for Orbax's own way: OCDBT, few files, merged from those that it globs for."""
    if glob.escape(str(directory)) == str(directory):
        return None
    # Below a name with brackets it would find none, or another run's: each array in a file of its own, and no merging.
    handler = ocp.StandardCheckpointHandler(use_ocdbt=False)
    handler.finalize = lambda directory: None
    return handler


def _score(metrics: dict[str, float | None] | None) -> float | None:
    """What a checkpoint was saved with as `score`."""
    return metrics["best_by"] if metrics else None


class _Best(managers.PreservationPolicy):
    """Preserves the checkpoint of `best_step`, where one has a score."""

    def should_preserve(self, checkpoints, *, context):
        """Returns for each checkpoint whether it stays: see Orbax."""
        best = best_step({checkpoint.step: _score(checkpoint.metrics) for checkpoint in checkpoints})
        return [checkpoint.step == best for checkpoint in checkpoints]


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of Orbax's log says more than the next save or `close` raises: not so of a full disk."""
    return not (record.exc_info and record.exc_info[1] and disk_failure(record.exc_info[1]))


class Checkpoints:
    """The folder `directory` of a run's checkpoints, numbered by step.

    A checkpoint is written beside its final name, sealed, and renamed when complete: a run killed at any moment resumes
    from the last complete one. `recover` is called before.
    """

    def __init__(self, directory: str | os.PathLike, keep: int):
        """`keep`: how many of the latest stay; the best by the scores given to `save` stays besides."""
        self._directory = Path(directory).resolve()
        self._chunks = 0
        self._saving = None
        logging.getLogger("absl").addFilter(_is_news)
        self._manager = ocp.CheckpointManager(
            self._directory,
            item_handlers=_handler(self._directory),
            # Without `best_fn` the metrics are not written beside the checkpoints.
            options=ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy([managers.LatestN(keep), _Best()]),
                best_fn=_score,
                enable_async_checkpointing=True,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )

    @property
    def latest(self) -> int | None:
        """The step of the newest complete checkpoint; None without one."""
        return self._manager.latest_step()

    def save(self, state: TrainState, score: float | None = None) -> None:
        """Starts saving `state`; returns once it is copied from the devices. `score`: see `reid_jax.training.best`."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self._manager.wait_until_finished()  # its checkpoint is sealed by `_saving`
        self._saving = step
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics={"best_by": score}, force=True)

    def restore(self, like: TrainState, mesh: Mesh) -> TrainState:
        """Restores the newest checkpoint onto `mesh`, replicated; `like` gives the tree, shapes and dtypes.

        Raises InputError where it holds another tree, or arrays of another shape.
        """
        sharding = parallel.replicated(mesh)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
        try:
            return self._manager.restore(self.latest, args=ocp.args.StandardRestore(target))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"checkpoint {self.latest} in {shown(self._directory)} holds another state than this version "
                "of reid_jax keeps; resume with the version that wrote it, or give another workdir"
            ) from error

    def scores(self) -> dict[int, float]:
        """Returns {step: score} of the checkpoints that were saved with one."""
        scores = {step: _score(self._manager.metrics(step)) for step in self._manager.all_steps()}
        return {step: score for step, score in scores.items() if score is not None}

    def stop_requested(self) -> bool:
        """Whether SIGTERM came, to any process of the run; called once a chunk, it is True in the same one for all.

        From the first call on it is for the run to end itself: see `reid_jax.processes.signals`.
        """
        signals.defer()
        # The processes agree on the highest number that any of them has given, plus one: it has to come.
        self._chunks += 1
        return self._manager.reached_preemption(self._chunks)

    def close(self) -> None:
        """Waits for what is being saved."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _seal(self) -> None:
        """Called once all of a checkpoint is written, before it gets its name."""
        if jax.process_index() == 0:
            seal(self._directory / f"{self._saving}{ocp.path.step.TMP_DIR_SUFFIX}", {"step": self._saving})
