"""A run from images to figures: `train_and_evaluate(config, workdir)`, in three parts: before, the loop, and after."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from reid_jax import config as run_config
from reid_jax import parallel, visualize
from reid_jax.averaging.cycles import WeightAverages
from reid_jax.data.resident import ResidentImages
from reid_jax.data.split import StoredSplit
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation, evaluate
from reid_jax.files.json_files import write_json
from reid_jax.models import summary
from reid_jax.models.registry import network_of
from reid_jax.parallel import one_device
from reid_jax.processes import joining, signals
from reid_jax.processes.compiled import programs
from reid_jax.retrieval.metrics import format_metrics
from reid_jax.swag import Moments
from reid_jax.training import assemble, optim
from reid_jax.training.best import best_step
from reid_jax.training.checkpoint import Checkpoints, has_checkpoint, recover
from reid_jax.training.chunks import ChunkRunner
from reid_jax.training.data import Pair, describe, for_statistics
from reid_jax.training.init_from import people_digest, start_from
from reid_jax.training.log import TrainingLog, say
from reid_jax.training.metric_writer import MetricWriter, require_tensorboard
from reid_jax.training.not_finite import Diagnosis
from reid_jax.training.plan import Plan
from reid_jax.training.sources import ResidentSource
from reid_jax.training.start_scores import Scores, read_start_scores
from reid_jax.training.state import TrainState, create_state, init_variables
from reid_jax.training.steps import compile_chunk, metric_names
from reid_jax.training.workdir import claimed, write_config
from reid_jax.weights import AVERAGED, BEST, LAST, STOPPED, Weights, load_weights, save_weights


@dataclasses.dataclass(frozen=True)
class _CycleEnd:
    """What the end of a cycle made of the weights: SWA's variables, and {set: {'swa': metrics, 'swag': metrics}}."""

    mean: dict[str, Any]
    scores: dict[str, dict[str, dict[str, float]]]


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, dict[str, dict[str, float]]] | None:
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
    plain = run_config.to_dict(config)
    with claimed(workdir, lambda stored: run_config.differences(stored, plain)):
        return _run(config, workdir)


def _run(config: ConfigDict, workdir: Path) -> dict[str, dict[str, dict[str, float]]] | None:
    """Before the loop: what the config describes, and what the workdir holds of it already; then the other parts."""
    mesh = parallel.create_mesh()
    say(parallel.describe(mesh))
    train, validation, test = assemble.data_of(config)
    say(describe(config.dataset, train, validation, test))
    identity, label = np.unique(train.identity, return_inverse=True)
    people = people_digest(train)
    sampler = assemble.sampler_of(config, label, train.origin)
    parallel.check_divisible(sampler.batch_size, mesh)
    plan = assemble.plan_of(config, sampler.steps_per_epoch)

    # The variables depend on the seed alone, the optimiser's rules on their paths.
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    network = network_of(config, len(identity))
    variables = init_variables(network, init_key, config.image_size)
    schedule = assemble.schedule_of(config, plan.steps_per_epoch)
    optimizer = assemble.optimizer_of(config, schedule, variables["params"])
    say(summary.format_costs(summary.component_costs(network, config.image_size)))
    say(optim.format_rules(variables["params"], assemble.rules_of(config)))
    turns = assemble.turning_points_of(config, plan)
    say(optim.format_schedule(schedule, steps=turns, steps_per_epoch=plan.steps_per_epoch))
    if cut := assemble.describe_cut_cycle(config, plan):
        say(cut)

    def evaluate_on(pair, variables, progress=False):
        encoder = Encoder(network, variables, config.image_size, mesh)
        return evaluate(encoder, *pair, progress=progress)

    # A run starts and resumes in this order; what fails in the first three steps leaves a new workdir empty:
    #   1. Damaged checkpoints are set aside; before.json is read: the scores of the weights that the run starts from.
    #   2. Weights of `config.init_from` replace the initialised ones. They are not read where before.json has their
    #      scores and a checkpoint holds the state.
    #   3. config.json is written: from here on the folder is this run's.
    #   4. The weights that the run starts from are scored, where before.json did not have it.
    #   5. The newest checkpoint, if any, gives the state: step, variables, optimiser's state, SWAG's moments.
    #   6. metrics.jsonl loses its records after that step, which are written again; the others hold the scores so far.
    variables, start_scores, checkpoints = _open_workdir(config, workdir, variables, people, test, evaluate_on)

    source = assemble.source_of(config, train, label, sampler, plan.total, mesh)
    state = parallel.place_whole(mesh, create_state(variables, optimizer))
    del variables
    averages, settings = None, assemble.swag_of(config)
    if settings:
        is_resident = isinstance(source, ResidentSource)
        image = source.image if is_resident else ResidentImages.of(for_statistics(train), mesh)
        averages = WeightAverages(network, image, mesh, assemble.augmentation_of(config), settings)
        state = dataclasses.replace(state, swag=averages.init(state.params))
    if checkpoints.latest is not None:
        state = checkpoints.restore(state, mesh)
        say(f"resumed at step {int(state.step)} of {plan.total}")
    elif (workdir / "metrics.jsonl").exists():
        say("no checkpoint is there yet: the run starts again from its first step")
    writer = MetricWriter(workdir, int(state.step), config.tensorboard)
    if writer.damaged:
        say(f"metrics.jsonl has {writer.damaged} damaged lines, which are left out")

    objective, augmentation = assemble.objective_of(config), assemble.augmentation_of(config)
    chunk = compile_chunk(network, optimizer, objective, augmentation, mesh, source.kind, config.batch.groups)
    diagnosis = Diagnosis(chunk, network, objective, augmentation, mesh, step_key, config.batch.groups)
    run_chunk = ChunkRunner(chunk, diagnosis, source, step_key)
    names = metric_names(objective, state.params)
    log = TrainingLog(plan, schedule, sampler.batch_size, writer, names, lambda: source.waited)
    # Scores are read from metrics.jsonl too: a damaged checkpoint that was set aside may have had the best one.
    val_scores = {record["step"]: record["val_mAP"] for record in writer.records if "val_mAP" in record}
    val_scores |= checkpoints.scores()
    save = functools.partial(_save, workdir, config, len(identity), people)

    state, last_cycle = _train(
        state, plan, run_chunk, log, checkpoints, evaluate_on, validation, test, val_scores, averages, save
    )
    source.close()
    checkpoints.close()
    writer.close()
    if int(state.step) < plan.total:
        # Under a name of its own: what asks for a run's weights is to refuse those of one that has not ended.
        save(STOPPED, state.variables)
        say(f"stopped at step {int(state.step)} of {plan.total} and saved; the same command resumes the run")
        return None
    save(LAST, state.variables)
    _on_process_zero((workdir / STOPPED).unlink, missing_ok=True)
    signals.stop_deferring()  # what follows is done anew by the same command
    return _finish(config, workdir, state, evaluate_on, test, start_scores, averages, last_cycle, writer.records, save)


def _open_workdir(
    config: ConfigDict,
    workdir: Path,
    variables: dict[str, Any],
    people: str,
    test: dict[str, Pair],
    evaluate_on: Callable[..., Evaluation],
) -> tuple[dict[str, Any], dict[str, Scores], Checkpoints]:
    """Steps 1 to 4 of starting and resuming.

    Returns the variables that a new run starts from, {data set: {'untrained' or 'start': their metrics}}, and the
    checkpoints.
    """
    joining.process_zero_first(lambda: _on_process_zero(recover, workdir / "checkpoints"))
    scores = read_start_scores(workdir / "before.json", test)
    name = "start" if config.init_from else "untrained"
    if config.init_from and (scores is None or not has_checkpoint(workdir / "checkpoints")):
        variables, source = start_from(config, load_weights(config.init_from), variables, people)
        say(source)
    joining.process_zero_first(lambda: write_config(workdir, run_config.to_dict(config)))

    joining.meet()  # the checkpoints open with a collective
    checkpoints = Checkpoints(workdir / "checkpoints", config.keep_checkpoints)
    if scores is None:
        scores = {data_set: evaluate_on(pair, variables, progress=True).metrics for data_set, pair in test.items()}
        _on_process_zero(write_json, workdir / "before.json", scores)
    say(format_metrics({f"{data_set}, {name}": metrics for data_set, metrics in scores.items()}))
    return variables, {data_set: {name: metrics} for data_set, metrics in scores.items()}, checkpoints


def _train(
    state: TrainState,
    plan: Plan,
    run_chunk: ChunkRunner,
    log: TrainingLog,
    checkpoints: Checkpoints,
    evaluate_on: Callable[..., Evaluation],
    validation: Pair | None,
    test: dict[str, Pair],
    val_scores: dict[int, float | None],
    averages: WeightAverages | None,
    save: Callable[..., None],
) -> tuple[TrainState, _CycleEnd | None]:
    """The loop: takes chunks of steps until the run ends or is asked to stop.

    `val_scores`: the mAP on the held-out identities by step, so far. Returns the state, and what the end of a cycle
    made of the weights where the last step ended one.
    """
    # Without held-out identities each cycle's end is scored on the first test set. Nothing is chosen by that score, and
    # `_finish` uses the last one again.
    cycle_set, cycle_pair = ("held out", validation) if validation else next(iter(test.items()))
    first, last_cycle, stopping = int(state.step), None, False
    step = first
    while step < plan.total and not stopping:
        # The order within an iteration: dispatch, read the chunk before, then whatever is due at this step
        # (evaluate, save), all of it before the next dispatch, so that a resumed run sees the same sequence.
        last_cycle = None  # its variables would be a third copy of the parameters in the next cycle
        begin, step = step, plan.next_stop(step)
        state, history, first_not_finite = run_chunk(state, begin, step)
        if begin == first:
            say(programs.describe())
        log.push(begin, step, history, first_not_finite)

        stopping = checkpoints.stop_requested()
        if not (plan.saves(step) or stopping):
            continue
        log.flush()
        validates = bool(validation) and plan.evaluates(step)
        if validates or plan.ends_cycle(step):
            metrics = evaluate_on(cycle_pair, state.variables).metrics
        if plan.ends_cycle(step):
            state = dataclasses.replace(state, swag=averages.collect(state.swag, state.params))
            last_cycle = _end_cycle(averages, state.swag, {cycle_set: cycle_pair})
            log.write_cycle(step, {"last": metrics, **last_cycle.scores[cycle_set]})
        if validates:
            log.write_validation(step, metrics)
            val_scores[step] = metrics["mAP"]
            if best_step(val_scores) == step:
                save(BEST, state.variables)
        checkpoints.save(state, metrics["mAP"] if validates else None)
    return state, last_cycle


def _end_cycle(averages: WeightAverages, moments: Moments, pairs: dict[str, Pair]) -> _CycleEnd:
    mean = averages.mean(moments)
    return _CycleEnd(mean, averages.score(mean, moments, pairs))


def _finish(
    config: ConfigDict,
    workdir: Path,
    state: TrainState,
    evaluate_on: Callable[..., Evaluation],
    test: dict[str, Pair],
    start_scores: dict[str, Scores],
    averages: WeightAverages | None,
    last_cycle: _CycleEnd | None,
    records: list[dict[str, Any]],
    save: Callable[..., None],
) -> dict[str, dict[str, dict[str, float]]]:
    """After the loop: scores the last weights and their averages on the test sets, and draws the pictures."""
    averaged = {}
    if averages:
        # There is none where the run resumed after its last cycle, or ended within one.
        mean = last_cycle.mean if last_cycle else averages.mean(state.swag)
        save(AVERAGED, mean, state.swag)
        averaged = dict(last_cycle.scores) if last_cycle else {}
        averaged |= averages.score(mean, state.swag, {name: test[name] for name in test if name not in averaged})
    results, pictured = {}, None
    for data_set, pair in test.items():
        evaluation = evaluate_on(pair, state.variables, progress=True)
        results[data_set] = {**start_scores[data_set], "trained": evaluation.metrics, **averaged.get(data_set, {})}
        pictured = pictured or (*pair, evaluation)  # the first set's; the others are not kept
    _on_process_zero(write_json, workdir / "results.json", results)
    rows = {f"{data_set}, {name}": row for data_set, rows in results.items() for name, row in rows.items()}
    say(format_metrics(rows))
    say(f"weights.safetensors and results.json are in {workdir}")
    _on_process_zero(_draw, workdir, config, *pictured, records)
    return results


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


def _save(
    workdir: Path,
    config: ConfigDict,
    identities: int,
    people: str,
    name: str,
    variables: dict[str, Any],
    moments: Moments | None = None,
) -> None:
    """Writes the weights file `name`."""
    _on_process_zero(save_weights, workdir / name, Weights(config, identities, variables, moments, people))


def _on_process_zero(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Calls a function that writes files on process 0 alone."""
    if jax.process_index() == 0:
        function(*arguments, **options)
