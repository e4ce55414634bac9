"""A run from images to figures: `train_and_evaluate(config, workdir)`, read from top to bottom."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from reid_jax import config as run_config
from reid_jax import optim, parallel, visualize
from reid_jax.checkpoint import Checkpoints
from reid_jax.data.augment import Augmentation
from reid_jax.data.datasets import find_source, split_names
from reid_jax.data.hold_out import hold_out
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.data.split import Split, StoredSplit, load_split, open_splits
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation, evaluate
from reid_jax.models import summary
from reid_jax.retrieval.metrics import format_metrics
from reid_jax.state import create_state, init_variables
from reid_jax.steps import Objective, compile_chunk, metric_names
from reid_jax.weight_averages import WeightAverages
from reid_jax.weights import AVERAGED, BEST, LAST, Weights, load_weights, network_of, save_weights
from reid_jax.writers import MetricWriter, read_json, write_json

HOLD_OUT_SEED = 0  # the same identities for every config.seed: runs of several seeds then compare
_SECONDS_BETWEEN_LINES = 5


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a run: their number, and those after which it evaluates or saves."""

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
        return self.cycle is not None and step % self.cycle == 0

    def evaluates(self, step: int) -> bool:
        return step % self.eval_every == 0 or step == self.total

    def saves(self, step: int) -> bool:
        return step % self.save_every == 0 or self.evaluates(step) or self.ends_cycle(step)


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, dict[str, float]] | None:
    """Trains a network as `config` says and scores it on the test splits, before and after.

    `workdir` then holds config.json, metrics.jsonl, checkpoints/, weights.safetensors (the last weights),
    best.safetensors (the best on held-out identities, where there are any), results.json, and the pictures ranked.png
    (of the first test set) and curves.png. A run that collects weights (`config.swag.collect`) also leaves
    swag.safetensors, and scores the last weights, SWA and SWAG at the end of each cycle, on held-out identities where
    there are any, else on the first test set. The same call resumes an interrupted run and ends with the same weights,
    bit for bit on the same machine: a run is a function of its config.

    Returns {data set: {'untrained' (or 'start', with `config.init_from`), 'trained', and 'swa' and 'swag' where weights
    were collected: metrics}} (see `retrieval.metrics.retrieval_metrics`), or None where SIGTERM stopped the run, which
    is saved then.
    Raises InputError for what is wrong with config, data or workdir; FloatingPointError, naming the step, where the
    loss is no longer finite: nothing after the last good checkpoint is kept.
    """
    config, workdir = run_config.check(config), Path(workdir)
    _claim(workdir, config)

    mesh = parallel.create_mesh()
    _say(parallel.describe(mesh))

    train, validation = load_training(config)
    test = _test_splits(config)
    _say(_describe_data(config, train, validation))
    identity, label = np.unique(train.identity, return_inverse=True)
    sampler = _sampler(config, label, train.origin)
    parallel.check_divisible(sampler.batch_size, mesh)
    plan = _plan(config, sampler.steps_per_epoch)

    # The variables depend on the seed alone, the optimiser's rules on their paths.
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    network = network_of(config, len(identity))
    variables = init_variables(network, init_key, config.image_size)
    if config.init_from:
        variables = _start_from(config, variables)
    schedule = schedule_of(config, plan.steps_per_epoch)
    rules = optim.default_rules(scale_rate=config.optimizer.logit_scale_rate)
    optimizer = optim.optimizer(
        schedule,
        params=variables["params"],
        momentum=config.optimizer.momentum,
        nesterov=config.optimizer.nesterov,
        weight_decay=config.optimizer.weight_decay,
        rules=rules,
    )
    _say(summary.format_costs(summary.component_costs(network, config.image_size)))
    _say(optim.format_rules(variables["params"], rules))
    turns = [epoch for epoch in _turning_points(config) if epoch <= config.epochs]
    _say(optim.format_schedule(schedule, epochs=turns, steps_per_epoch=plan.steps_per_epoch))

    checkpoints = Checkpoints(workdir / "checkpoints", config.keep_checkpoints)
    state = jax.device_put(create_state(variables, optimizer), parallel.replicated(mesh))
    image = jax.device_put(train.image, parallel.replicated(mesh))
    averages = WeightAverages(config, network, image, mesh) if config.swag.collect else None
    if averages:
        state = averages.start(state)
    if checkpoints.latest is not None:
        state = checkpoints.restore(state, mesh)
        _say(f"resumed at step {int(state.step)} of {plan.total}")
    best = checkpoints.best()

    first = "start" if config.init_from else "untrained"
    before = read_json(workdir / "before.json")
    if before is None:
        before = {
            name: evaluate(network, variables, *splits, mesh, progress=True).metrics for name, splits in test.items()
        }
        _write_json(workdir / "before.json", before)
    _say(format_metrics({f"{name}, {first}": metrics for name, metrics in before.items()}))
    del variables

    objective = objective_of(config)
    chunk = compile_chunk(network, optimizer, objective, augmentation_of(config), mesh)
    label = jax.device_put(label.astype(np.int32), parallel.replicated(mesh))
    step = int(state.step)
    writer = MetricWriter(workdir, step, config.tensorboard)
    progress = Progress(plan, step, schedule, sampler.batch_size, writer, metric_names(objective))
    of_cycle = validation or ([split.load() for split in next(iter(test.values()))] if averages else None)

    while step < plan.total:
        # The order within an iteration: dispatch, read the chunk before, then whatever is due at this step
        # (evaluate, save), all of it before the next dispatch, so that a resumed run sees the same sequence.
        stop = plan.next_stop(step)
        indices = np.zeros((plan.per_dispatch, sampler.batch_size), np.int32)
        for number in range(step, stop):
            indices[number - step] = sampler.indices(config.seed, number)
        state, history = chunk(state, image, label, indices, stop - step, step_key)
        progress.push(step, stop, history)
        step = stop

        told_to_stop = checkpoints.told_to_stop()
        if not (plan.saves(step) or told_to_stop):
            continue
        progress.flush()
        if plan.ends_cycle(step):
            state = averages.collect(state)
            last = evaluate(network, state.variables, *of_cycle, mesh).metrics
            progress.write_cycle(step, {"last": last, **averages.score(state.swag, of_cycle)})
        score = None
        if validation and plan.evaluates(step):
            metrics = evaluate(network, state.variables, *validation, mesh).metrics
            score = metrics["mAP"]
            progress.write_validation(step, metrics)
            if best is None or score > best:
                best = score
                _save_weights(workdir / BEST, Weights(config, len(identity), state.variables))
        checkpoints.save(state, score)
        if told_to_stop and step < plan.total:
            checkpoints.close()
            writer.close()
            _say(f"stopped at step {step} of {plan.total} and saved; the same command resumes the run")
            return None

    checkpoints.close()
    writer.close()
    _save_weights(workdir / LAST, Weights(config, len(identity), state.variables))
    if averages:
        mean = averages.mean(state.swag)
        _save_weights(workdir / AVERAGED, Weights(config, len(identity), mean, state.swag))
    results = {}
    for number, (name, splits) in enumerate(test.items()):
        trained = evaluate(network, state.variables, *splits, mesh, progress=True)
        results[name] = {first: before[name], "trained": trained.metrics}
        if averages:
            results[name] |= averages.score(state.swag, splits, progress=True)
        if number == 0 and jax.process_index() == 0:
            _draw(workdir, config, *splits, trained, writer.records)
    _write_json(workdir / "results.json", results)
    _say(format_metrics({f"{name}, {when}": r for name, all_ in results.items() for when, r in all_.items()}))
    _say(f"weights.safetensors, results.json and ranked.png are in {workdir}")
    return results


def load_training(config: ConfigDict) -> tuple[Split, list[Split] | None]:
    """Loads what a run trains on, and query and gallery of its held-out identities, None where it holds out none."""
    train = load_split(config.dataset, "train", config.data_dir, config.image_size)
    if not config.val_identities:
        return train, None
    train, *validation = hold_out(train, config.val_identities, HOLD_OUT_SEED)
    return train, validation


class Progress:
    """Reads a chunk's metrics once the next chunk is under way, checks, writes and shows them."""

    def __init__(self, plan: Plan, step: int, schedule, batch_size: int, writer: MetricWriter, names):
        self._plan, self._schedule, self._batch_size, self._writer = plan, schedule, batch_size, writer
        self._names = names
        self._pending: list[tuple[int, int, dict[str, jax.Array]]] = []
        self._first_step, self._first_time = None, None
        self._last_line = 0.0
        self._start = step

    def push(self, begin: int, end: int, history: dict[str, jax.Array]) -> None:
        """Takes the metrics of steps `begin` to `end`, still being computed, and handles those of the chunk before."""
        self._pending.append((begin, end, history))
        if len(self._pending) > 1:
            self._handle(*self._pending.pop(0))

    def flush(self) -> None:
        """Handles all that is pending; waits for it."""
        while self._pending:
            self._handle(*self._pending.pop(0))

    def write_validation(self, step: int, metrics: dict[str, float]) -> None:
        """Writes and shows an evaluation on the held-out identities."""
        kept = {f"val_{name}": metrics[name] for name in ("rank1", "mAP", "mINP")}
        self._writer.write(step, step / self._plan.steps_per_epoch, kept)
        _say(
            f"epoch {step / self._plan.steps_per_epoch:6.1f}  held-out identities: "
            f"rank-1 {100 * metrics['rank1']:.1f} %  mAP {100 * metrics['mAP']:.1f} %"
        )

    def write_cycle(self, step: int, scores: dict[str, dict[str, float]]) -> None:
        """Writes and shows how the last, the averaged and the sampled weights score at the end of a cycle."""
        epoch = step / self._plan.steps_per_epoch
        kept = {f"{name}_{key}": metrics[key] for name, metrics in scores.items() for key in ("rank1", "mAP")}
        self._writer.write(step, epoch, kept)
        shown = "  ".join(
            f"{name} {100 * metrics['rank1']:.1f} / {100 * metrics['mAP']:.1f}" for name, metrics in scores.items()
        )
        _say(f"epoch {epoch:6.1f}  end of cycle {step // self._plan.cycle}, rank-1 / mAP: {shown}")

    def _handle(self, begin, end, history):
        history = {name: np.asarray(values)[: end - begin] for name, values in history.items()}
        finite = np.isfinite(history["loss"]) & np.isfinite(history["gradient_norm"])
        if not finite.all():
            bad = begin + int(np.argmin(finite)) + 1
            raise FloatingPointError(
                f"the loss or its gradient is not finite at step {bad} (epoch {bad / self._plan.steps_per_epoch:.2f}, "
                f"loss {history['loss'][bad - begin - 1]}); lower schedule.peak or lengthen schedule.warmup_epochs"
            )
        means = {name: float(np.mean(history[name], dtype=np.float64)) for name in self._names}
        rate = float(self._schedule(end - 1))
        epoch = end / self._plan.steps_per_epoch
        self._writer.write(end, epoch, {**means, "learning_rate": rate})
        now = time.monotonic()
        if self._first_time is None:  # the first chunk's time is mostly compilation
            self._first_step, self._first_time = end, now
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or end == self._plan.total:
            self._last_line = now
            _say(self._line(end, epoch, means, rate, now))

    def _line(self, step, epoch, means, rate, now):
        shown = f"loss {means['loss']:6.3f}  cross-entropy {means['cross_entropy']:5.2f}"
        if "triplet" in means:
            shown += f"  triplet {means['triplet']:.3f}"
        line = f"epoch {epoch:6.1f}  step {step}/{self._plan.total}  {shown}  accuracy {100 * means['accuracy']:4.1f} %"
        line += f"  rate {rate:.1e}"
        if step > self._first_step:
            per_second = (step - self._first_step) / (now - self._first_time)
            left = (self._plan.total - step) / per_second
            line += f"  {per_second * self._batch_size:.0f} images/s  left {_clock(left)}"
        return line


def schedule_of(config: ConfigDict, steps_per_epoch: int):
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


def objective_of(config: ConfigDict) -> Objective:
    """Returns the loss that `config.loss` describes."""
    fields = config.loss.to_dict()
    soft = fields.pop("soft_margin")
    return Objective(**{**fields, "margin": "soft" if soft else fields["margin"]})


def augmentation_of(config: ConfigDict) -> Augmentation:
    """Returns the augmentation that `config.augment` describes."""
    return Augmentation(**config.augment.to_dict())


def _turning_points(config):
    s = config.schedule
    if s.name == "cyclic_cosine":
        return [s.cycle_epochs * number for number in range(1, math.ceil(config.epochs / s.cycle_epochs))]
    return [epoch for epoch in (s.warmup_epochs, *s.boundaries) if epoch > 0]


def _plan(config, steps_per_epoch):
    def steps(epochs):
        return max(1, round(epochs * steps_per_epoch))

    plan = Plan(
        steps(config.epochs),
        steps_per_epoch,
        config.steps_per_dispatch,
        steps(config.eval_every),
        steps(config.checkpoint_every),
        steps(config.schedule.cycle_epochs) if config.swag.collect else None,
    )
    if plan.cycle and plan.cycle > plan.total:
        raise InputError(
            f"config.swag.collect collects at the end of cycles of {config.schedule.cycle_epochs:g} epochs, but the "
            f"run has {config.epochs:g}; shorten schedule.cycle_epochs or lengthen the run"
        )
    return plan


def _start_from(config: ConfigDict, fresh: dict[str, Any]) -> dict[str, Any]:
    """The variables in `config.init_from`; classifiers of other identities stay as initialised."""
    weights = load_weights(config.init_from)
    model, stored = config.model.to_dict(), weights.config.model.to_dict()
    different = [key for key in model if model[key] != stored[key] and key not in ("dtype", "logit_scale")]
    if different or config.image_size != weights.config.image_size:
        key = f"model.{different[0]}" if different else "image_size"
        raise InputError(
            f"config.init_from {config.init_from} holds weights of another network (its config differs in {key}); "
            "set the same network, or start from other weights"
        )
    left = []

    def choose(path, mine, theirs):
        if np.shape(mine) == np.shape(theirs):
            return jnp.asarray(theirs)
        left.append(jax.tree_util.keystr(path, simple=True, separator="/"))
        return mine

    params = jax.tree_util.tree_map_with_path(choose, fresh["params"], weights.variables["params"])
    classifiers = f"; {', '.join(left)} of {weights.identities} identities left out" if left else ""
    _say(f"starts from  {config.init_from}{classifiers}")
    return {"params": params, "batch_stats": jax.tree.map(jnp.asarray, weights.variables["batch_stats"])}


def _sampler(config, label: np.ndarray, origin: np.ndarray) -> IdentitySampler | JoinedSampler:
    if config.batch.shares:
        if sum(config.batch.shares) != config.batch.identities:
            raise InputError(
                f"config.batch.shares {config.batch.shares} add up to {sum(config.batch.shares)}, but "
                f"config.batch.identities is {config.batch.identities}; make them agree"
            )
        return JoinedSampler(label, origin, config.batch.shares, config.batch.images)
    return IdentitySampler(label, config.batch.identities, config.batch.images)


def _test_splits(config) -> dict[str, list[StoredSplit]]:
    """Query and gallery of each set to score, by its full name; nothing is decoded yet."""
    test = {}
    for name in split_names(config.test_dataset or config.dataset):
        source = find_source(name, config.data_dir)
        if not config.test_dataset and not {"query", "gallery"} <= set(source.splits):
            continue  # a set for training only
        test[source.name] = open_splits(name, ["query", "gallery"], config.data_dir, config.image_size)
    if not test:
        raise InputError(
            f"config.dataset {config.dataset!r} has no query and gallery to score; name a set that has in "
            "config.test_dataset"
        )
    return test


def _claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` this run's, or checks that it is: one folder, one config."""
    stored = read_json(workdir / "config.json")
    wanted = run_config.to_dict(config)
    if stored is None:
        # A dot file may be the temporary of a process that was killed while it claimed the folder.
        if workdir.is_dir() and any(not path.name.startswith(".") for path in workdir.iterdir()):
            raise InputError(
                f"{workdir} is not empty and is no workdir of a run (it has no config.json); give a new or empty folder"
            )
        if workdir.exists() and not workdir.is_dir():
            raise InputError(f"{workdir} is a file; --workdir takes a folder")
    elif stored != wanted:
        changed = "; ".join(run_config.differences(stored, wanted))
        raise InputError(
            f"{workdir} holds a run of another config ({changed}); resume with its own config, or give another workdir"
        )
    _write_json(workdir / "config.json", wanted)


def _describe_data(config, train: Split, validation) -> str:
    lines = [f"training    {len(train):,} images of {len(np.unique(train.identity)):,} identities, {config.dataset}"]
    if validation:
        query, gallery = validation
        lines.append(
            f"held out    {len(np.unique(query.identity))} identities: {len(query):,} queries, "
            f"{len(gallery):,} gallery images"
        )
    return "\n".join(lines)


def _draw(
    workdir: Path,
    config: ConfigDict,
    query: StoredSplit,
    gallery: StoredSplit,
    evaluation: Evaluation,
    records: list[dict[str, Any]],
):
    visualize.draw_sheet(
        workdir / "ranked.png", query, gallery, evaluation, rows=config.sheet_queries, seed=config.seed
    )
    try:
        visualize.training_curves(workdir / "curves.png", records)
    except InputError as error:  # Matplotlib is an extra: the run is no worse without its curves
        _say(f"no curves.png: {error}")


def _save_weights(path: Path, weights: Weights) -> None:
    if jax.process_index() == 0:
        save_weights(path, weights)


def _write_json(path, value) -> None:
    if jax.process_index() == 0:
        write_json(path, value)


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
