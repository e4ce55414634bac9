"""A run from images to figures: `train_and_evaluate(config, workdir)`, read from top to bottom."""

import dataclasses
import functools
import math
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from reid_jax import config as run_config
from reid_jax import parallel, visualize
from reid_jax.averaging.cycles import WeightAverages
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.data.split import StoredSplit
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation, evaluate
from reid_jax.files.json_files import is_number, read_json, write_json
from reid_jax.models import summary
from reid_jax.models.registry import network_of
from reid_jax.parallel import one_device
from reid_jax.processes import joining, signals
from reid_jax.retrieval.metrics import format_metrics
from reid_jax.training import assemble, optim
from reid_jax.training import data as run_data
from reid_jax.training.assemble import objective_of, optimizer_of, plan_of, rules_of, schedule_of
from reid_jax.training.checkpoint import Checkpoints, begun, recover
from reid_jax.training.init_from import digest_of, start_from
from reid_jax.training.log import TrainingLog, say
from reid_jax.training.metric_writer import MetricWriter, require_tensorboard
from reid_jax.training.not_finite import Diagnosis, copy_state
from reid_jax.training.plan import Plan
from reid_jax.training.state import create_state, init_variables
from reid_jax.training.steps import compile_chunk, metric_names
from reid_jax.training.workdir import claimed, settle
from reid_jax.weights import AVERAGED, BEST, LAST, STOPPED, Weights, save_weights


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, dict[str, float]] | None:
    """Trains a network as `config` says and scores it on the test splits, before and after.

    `workdir` then holds config.json, metrics.jsonl, checkpoints/, weights.safetensors (the last weights),
    best.safetensors (the best on held-out identities, where there are any), results.json, and the pictures ranked.png
    (of the first test set) and curves.png. A run that collects weights (`config.swag.collect`) also leaves
    swag.safetensors, and scores the last weights, SWA and SWAG at the end of each cycle, on held-out identities where
    there are any, else on the first test set. The same call resumes an interrupted run and ends with the same weights,
    bit for bit on the same machine: a run is a function of its config. It resumes from the newest sound checkpoint:
    damaged ones are set aside.

    Returns {data set: {'untrained' (or 'start', with `config.init_from`), 'trained', and 'swa' and 'swag' where weights
    were collected: metrics}} (see `retrieval.metrics.retrieval_metrics`), or None where SIGTERM stopped the run, which
    is saved then; stopped.safetensors holds its weights until it has ended.
    Raises InputError for what is wrong with config, data or workdir; FloatingPointError, naming the step and what was
    not finite first, where the loss is no longer finite: nothing after the last good checkpoint is kept.
    """
    config, workdir = run_config.check(config), Path(os.path.expanduser(workdir))
    if config.tensorboard:
        joining.process_zero_first(require_tensorboard)
    with claimed(workdir, config):
        return _run(config, workdir)


def _run(config: ConfigDict, workdir: Path) -> dict[str, dict[str, float]] | None:
    """See `train_and_evaluate`; `workdir` is claimed."""
    mesh = parallel.create_mesh()
    whole = parallel.replicated(mesh)
    say(parallel.describe(mesh))

    train, validation, test = run_data.load_data(config)
    say(run_data.describe(config, train, validation, test))
    identity, label = np.unique(train.identity, return_inverse=True)
    people = digest_of(train)
    sampler = assemble.sampler_of(config, label, train.origin)
    parallel.check_divisible(sampler.batch_size, mesh)
    plan = plan_of(config, sampler.steps_per_epoch)

    # The variables depend on the seed alone, the optimiser's rules on their paths.
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    network = network_of(config, len(identity))
    variables = init_variables(network, init_key, config.image_size)
    schedule = schedule_of(config, plan.steps_per_epoch)
    optimizer = optimizer_of(config, schedule, variables["params"])
    say(_describe_training(config, network, variables["params"], schedule, plan))

    joining.process_zero_first(lambda: _recover(workdir))
    before = _read_before(workdir / "before.json", test)
    first = "start" if config.init_from else "untrained"
    # A resumed run needs no more of the weights it once started from than it has saved.
    if config.init_from and (before is None or not begun(workdir / "checkpoints")):
        variables, taken = start_from(config, variables, people)
        say(taken)
    joining.process_zero_first(lambda: settle(workdir, config))

    joining.meet()  # the checkpoints open with a collective
    checkpoints = Checkpoints(workdir / "checkpoints", config.keep_checkpoints)
    if before is None:
        encoder = Encoder(network, variables, config.image_size, mesh)
        before = {name: evaluate(encoder, *pair, progress=True).metrics for name, pair in test.items()}
        del encoder
        _write_json(workdir / "before.json", before)
    say(format_metrics({f"{name}, {first}": metrics for name, metrics in before.items()}))

    # Every device holds the training images. Each process hands over its own copy, which are the same.
    image = jax.make_array_from_callback(train.image.shape, whole, lambda index: train.image[index])
    label = jax.device_put(label.astype(np.int32), whole)
    state = jax.device_put(create_state(variables, optimizer), whole)
    del variables
    averages = WeightAverages(config, network, image, mesh) if config.swag.collect else None
    if averages:
        state = averages.start(state)
    if checkpoints.latest is not None:
        state = checkpoints.restore(state, mesh)
        say(f"resumed at step {int(state.step)} of {plan.total}")
    elif (workdir / "metrics.jsonl").exists():
        say("no checkpoint is there yet: the run starts again from its first step")
    step = int(state.step)

    objective, augmentation = objective_of(config), assemble.augmentation_of(config)
    chunk = compile_chunk(network, optimizer, objective, augmentation, mesh)
    diagnosis = Diagnosis(chunk, network, objective, augmentation, mesh, image, label, step_key)
    writer = MetricWriter(workdir, step, config.tensorboard)
    if writer.damaged:
        say(f"metrics.jsonl has {writer.damaged} damaged lines, which are left out")
    # The best by the records too: its checkpoint may be one that was damaged.
    scores = [checkpoints.best(), *(record.get("val_mAP") for record in writer.records)]
    best = max((score for score in scores if score is not None), default=None)
    log = TrainingLog(plan, schedule, sampler.batch_size, writer, metric_names(objective, state.params))
    # Where the ends of cycles score a test set nothing is chosen by it, and at the run's end these scores serve again.
    watched, watched_pair = ("held out", validation) if validation else next(iter(test.items()))
    mean, averaged = None, {}

    while step < plan.total:
        # The order within an iteration: dispatch, read the chunk before, then whatever is due at this step
        # (evaluate, save), all of it before the next dispatch, so that a resumed run sees the same sequence.
        mean, averaged = None, {}  # those of a cycle's end would be a third copy of the parameters in the next cycle
        stop = plan.next_stop(step)
        indices = _batches(sampler, config.seed, step, stop, plan.per_dispatch)
        # The moments of the weights are no chunk's affair: not copied with its beginning.
        begin, moments = dataclasses.replace(state, swag=None), state.swag
        look_into = functools.partial(diagnosis, copy_state(begin), indices)
        state, history = chunk(begin, image, label, indices, stop - step, step_key)
        state = dataclasses.replace(state, swag=moments)
        log.push(step, stop, history, look_into)
        step = stop

        told_to_stop = checkpoints.told_to_stop()
        if not (plan.saves(step) or told_to_stop):
            continue
        log.flush()
        validates = bool(validation) and plan.evaluates(step)
        if validates or plan.ends_cycle(step):
            metrics = evaluate(Encoder(network, state.variables, config.image_size, mesh), *watched_pair).metrics
        if plan.ends_cycle(step):
            state = averages.collect(state)
            mean = averages.mean(state.swag)
            averaged = averages.score(mean, state.swag, {watched: watched_pair})
            log.write_cycle(step, {"last": metrics, **averaged[watched]})
        if validates:
            log.write_validation(step, metrics)
            if best is None or metrics["mAP"] > best:
                best = metrics["mAP"]
                _save_weights(workdir / BEST, Weights(config, len(identity), state.variables, people=people))
        checkpoints.save(state, metrics["mAP"] if validates else None)
        if told_to_stop and step < plan.total:
            checkpoints.close()
            writer.close()
            # Under a name of its own: what asks for a run's weights is to refuse those of one that has not ended.
            _save_weights(workdir / STOPPED, Weights(config, len(identity), state.variables, people=people))
            say(f"stopped at step {step} of {plan.total} and saved; the same command resumes the run")
            return None

    checkpoints.close()
    writer.close()
    _save_weights(workdir / LAST, Weights(config, len(identity), state.variables, people=people))
    if jax.process_index() == 0:
        (workdir / STOPPED).unlink(missing_ok=True)
    signals.nothing_to_save()  # what follows is done anew by the same command
    if averages:
        if mean is None:  # resumed after the last cycle, or ended within one
            mean = averages.mean(state.swag)
        _save_weights(workdir / AVERAGED, Weights(config, len(identity), mean, state.swag, people))
        averaged |= averages.score(mean, state.swag, {name: test[name] for name in test if name not in averaged})
    results, pictured = {}, None
    encoder = Encoder(network, state.variables, config.image_size, mesh)
    for name, pair in test.items():
        trained = evaluate(encoder, *pair, progress=True)
        results[name] = {first: before[name], "trained": trained.metrics, **averaged.get(name, {})}
        pictured = pictured or (*pair, trained)
    _write_json(workdir / "results.json", results)
    say(format_metrics({f"{name}, {when}": r for name, all_ in results.items() for when, r in all_.items()}))
    say(f"weights.safetensors and results.json are in {workdir}")
    if jax.process_index() == 0:
        _draw(workdir, config, *pictured, writer.records)
    return results


def _describe_training(config: ConfigDict, network, params: Any, schedule: optax.Schedule, plan: Plan) -> str:
    """What the network costs, what the optimiser's rules caught, and the learning rate where it turns."""
    s = config.schedule
    if s.name == "cyclic_cosine":
        turns = [s.cycle_epochs * number for number in range(1, math.ceil(config.epochs / s.cycle_epochs))]
    else:
        turns = [epoch for epoch in (s.warmup_epochs, *s.boundaries) if 0 < epoch <= config.epochs]
    parts = (
        summary.format_costs(summary.component_costs(network, config.image_size)),
        optim.format_rules(params, rules_of(config)),
        optim.format_schedule(schedule, epochs=turns, steps_per_epoch=plan.steps_per_epoch),
    )
    return "\n".join(parts)


def _batches(sampler: IdentitySampler | JoinedSampler, seed: int, begin: int, end: int, rows: int) -> np.ndarray:
    """The image numbers of steps `begin` to `end`, int32 [rows, batch]: rows beyond them are not used."""
    indices = np.zeros((rows, sampler.batch_size), np.int32)
    for step in range(begin, end):
        indices[step - begin] = sampler.indices(seed, step)
    return indices


def _recover(workdir: Path) -> None:
    if jax.process_index() == 0:
        recover(workdir / "checkpoints")


def _read_before(file: Path, test: dict[str, Any]) -> dict[str, dict[str, float]] | None:
    """The scores before training on the sets of `test`; None where they are to be made, or made again."""
    if not file.exists():
        return None
    try:
        before = read_json(file)
        if before.keys() == test.keys() and all(map(_are_scores, before.values())):
            return before
        why = f"{file} does not hold the scores of {', '.join(test)}"
    except (AttributeError, InputError) as error:
        why = error if isinstance(error, InputError) else f"{file} holds no scores"
    say(f"{why}; the weights that the run starts from are scored again")
    return None


def _are_scores(value: Any) -> bool:
    return isinstance(value, dict) and {"rank1", "mAP"} <= value.keys() and all(map(is_number, value.values()))


def _draw(
    workdir: Path,
    config: ConfigDict,
    query: StoredSplit,
    gallery: StoredSplit,
    evaluation: Evaluation,
    records: list[dict[str, Any]],
) -> None:
    """Draws the pictures, which the run is no worse without; one process alone does, so on one device of its own."""
    evaluation = dataclasses.replace(evaluation, mesh=one_device())
    sheet = {"rows": config.sheet_queries, "seed": config.seed}
    for name, draw in (
        ("ranked.png", lambda path: visualize.draw_sheet(path, query, gallery, evaluation, **sheet)),
        ("curves.png", lambda path: visualize.training_curves(path, records)),
    ):
        try:
            draw(workdir / name)
        except InputError as error:
            say(f"no {name}: {error}")


def _save_weights(path: Path, weights: Weights) -> None:
    if jax.process_index() == 0:
        save_weights(path, weights)


def _write_json(path: Path, value: Any) -> None:
    if jax.process_index() == 0:
        write_json(path, value)
