"""Finished runs, read back from their workdirs and grouped: what differs in nothing but the seed belongs together.

A run is what its config says it is, never what its folder is called; a second phase counts by its own config and by
that of the run it starts from. Which column of the paper's tables a group is, and what else sets it apart from the
paper's run, is read from the configs too (`reid_jax.reporting.paper`).
"""

import dataclasses
import functools
import json
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from reid_jax import config as run_config
from reid_jax.errors import InputError, shown
from reid_jax.files.json_files import read_json
from reid_jax.models.registry import network_of
from reid_jax.ranges import real
from reid_jax.reporting import paper
from reid_jax.training.metric_writer import read_records
from reid_jax.weights import load_weights

METRICS = ("rank1", "rank5", "rank10", "mAP", "mAP_trapezoid", "mINP")
HEADLINE = ("rank1", "mAP")
# Whose scores: before training (from scratch, or of the weights started from), the last, their mean, its samples.
WEIGHTS = ("untrained", "start", "trained", "swa", "swag")
HELD_OUT = "held out"  # begins the name of the data set that is a run's held-out identities

# Keys that tell where and how often, but change no score.
_BOOKKEEPING = {
    "data_dir",
    "test_dataset",
    "steps_per_dispatch",
    "eval_every",
    "checkpoint_every",
    "keep_checkpoints",
    "sheet_queries",
    "tensorboard",
}
_IDENTITY = _BOOKKEEPING | {"seed", "init_from"}
_PAPER_CYCLES, _PAPER_CYCLE_EPOCHS = 15, 35


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its folder, its config, that of the run it starts from, its scores and its records.

    scores: data set -> weights (one of `WEIGHTS`) -> metric -> fraction; 'held out, ...' is a data set as well.
    first: None where the run starts from scratch, or where what it starts from is not there any more.
    """

    workdir: Path
    config: ConfigDict
    first: ConfigDict | None
    scores: dict[str, dict[str, dict[str, float]]]
    records: list[dict[str, Any]]

    @property
    def second_phase(self) -> bool:
        """Whether it continues a run with the cyclic rate."""
        return bool(self.config.init_from) and self.config.schedule.name == "cyclic_cosine"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the run, after that of the one it starts from."""
        return (self.first.seed, self.config.seed) if self.first is not None else (self.config.seed,)

    @property
    def kind(self) -> str:
        """Equal for runs that differ in nothing but their seeds."""
        start = self.config.init_from if self.first is None else _identity(self.first)
        return json.dumps([_identity(self.config), start], sort_keys=True)


@dataclasses.dataclass(frozen=True)
class Score:
    """Scores of a group's runs on one data set: metric -> one fraction a run, of those that were scored on it."""

    values: dict[str, list[float]]

    @property
    def count(self) -> int:
        """How many runs there are."""
        return len(self.values[HEADLINE[0]])

    def mean(self, metric: str) -> float:
        """The mean over the runs, a fraction."""
        return statistics.fmean(self.values[metric])

    def spread(self, metric: str) -> float | None:
        """The standard deviation over the runs (n - 1 below the line), a fraction; None for a single run."""
        values = self.values[metric]
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def text(self) -> str:
        """'rank-1 / mAP' in percent, with ± the spread."""
        return " / ".join(self.percent(metric) for metric in HEADLINE)

    def percent(self, metric: str) -> str:
        """'36.0 ± 1.2' in percent; without the spread where there is a single run, empty for an unknown metric."""
        if metric not in self.values:
            return ""
        spread = self.spread(metric)
        return f"{100 * self.mean(metric):.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed, and what they are in the paper's terms.

    switches: of the first phase, exactly; None where they are between two columns. nearest: a column or a setup that
    the network and losses are closest to; for a network that the paper has no terms for, its name. size: key of
    `paper.SIZES`, or '' for such a network. differs: key -> value where the first phase's config departs from the
    paper's run of `nearest`, or from the default one with such a network, the data set in any case; later: the same of
    the second phase.
    """

    runs: list[Run]
    switches: paper.Switches | None
    nearest: str
    size: str
    differs: dict[str, str]
    later: dict[str, str]
    parameters: int  # classifiers apart

    @property
    def second_phase(self) -> bool:
        """Whether the runs continue others with the cyclic rate."""
        return self.runs[0].second_phase

    @property
    def sets(self) -> list[str]:
        """The data sets that its runs were scored on."""
        return list(dict.fromkeys(data for run in self.runs for data in run.scores))

    def score(self, data: str, weights: str) -> Score | None:
        """The runs' scores on a data set; None where no run was scored so."""
        found = [run.scores[data][weights] for run in self.runs if weights in run.scores.get(data, {})]
        if not found:
            return None
        return Score({m: [float(f[m]) for f in found] for m in METRICS if all(m in f for f in found)})

    def reached(self, weights: str) -> paper.Switches | None:
        """The switches that its scores with these weights stand for, the update included."""
        update = {"trained": "cycles", "swag": "swag"} if self.second_phase else {"trained": "none"}
        if self.switches is None or weights not in update:
            return None
        return dataclasses.replace(self.switches, update=update[weights])


@dataclasses.dataclass(frozen=True)
class Gathered:
    """All groups, and why the other folders count for nothing: (folder, reason)."""

    groups: list[Group]
    left_out: list[tuple[Path, str]]


def gather(paths: Iterable[str | os.PathLike]) -> Gathered:
    """Reads the runs in `paths`: workdirs, or folders with workdirs somewhere below; files are passed over.

    A run that is unfinished, broken or a copy of another is left out, with the reason. Raises InputError for a path
    that is not there.
    """
    left_out: list[tuple[Path, str]] = []
    runs: list[Run] = []
    seen: dict[tuple, Path] = {}
    for workdir in _workdirs(paths, left_out):
        try:
            run = read_run(workdir)
        except InputError as error:
            left_out.append((workdir, shown(error, 500)))
            continue
        if (run.kind, run.seeds) in seen:
            left_out.append((workdir, f"the same config and seed as {seen[run.kind, run.seeds]}"))
            continue
        seen[run.kind, run.seeds] = workdir
        runs.append(run)
    by_kind: dict[str, list[Run]] = {}
    for run in runs:
        by_kind.setdefault(run.kind, []).append(run)
    groups = [_group(sorted(same, key=lambda run: run.seeds)) for same in by_kind.values()]
    return Gathered(sorted(groups, key=_order), left_out)


def read_run(workdir: Path) -> Run:
    """Reads a finished run; raises InputError, saying why, for one that is unfinished or broken."""
    try:
        stored = read_json(workdir / "config.json")
        records = read_records(workdir / "metrics.jsonl")
        results = read_json(workdir / "results.json")
    except (OSError, ValueError, RecursionError) as error:  # an InputError is a ValueError
        raise InputError(f"cannot be read: {error}") from error
    if not isinstance(stored, dict):
        raise InputError("config.json is no config")
    config = run_config.from_dict(stored)
    if results is None:
        epoch = records[-1]["epoch"] if records else 0.0
        raise InputError(f"unfinished: at epoch {epoch:.1f} of {config.epochs:g}")
    try:
        scores = {
            shown(data): {
                weights: {m: _fraction(metrics[m]) for m in METRICS if m in HEADLINE or m in metrics}
                for weights, metrics in kinds.items()
                if weights in WEIGHTS
            }
            for data, kinds in results.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError("results.json does not hold {data set: {weights: {metric: fraction}}}") from error
    if not scores or not all(scores.values()):
        raise InputError(f"results.json has no scores of weights called {', '.join(WEIGHTS)}")
    held_out = [record for record in records if record.get("val_mAP") is not None]
    if held_out:
        last = {m: held_out[-1][f"val_{m}"] for m in METRICS if held_out[-1].get(f"val_{m}") is not None}
        if set(HEADLINE) <= last.keys():
            name = f"{HELD_OUT}, {config.val_identities} identities of {shown(config.dataset)}"
            scores[name] = {"trained": last}
    return Run(workdir, config, _first_phase(workdir, config), scores, records)


_FRACTION = real(0, 1)


def _fraction(value: Any) -> float:
    if not _FRACTION.holds(value):
        raise ValueError(value)
    return float(value)


def _workdirs(paths: Iterable[str | os.PathLike], left_out: list[tuple[Path, str]]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_file():
            continue  # 'runs/*' names a sweep's logs too
        if not path.is_dir():
            raise InputError(f"{path} does not exist; name workdirs of runs, or folders that hold some")
        before = len(found)
        for folder, folders, files in os.walk(path):
            folders.sort()
            if "config.json" in files:
                folders.clear()
                found.setdefault(Path(folder).resolve(), Path(folder))
        if len(found) == before and not any(path.resolve() in one.parents or path.resolve() == one for one in found):
            left_out.append((path, "no run: neither it nor a folder below has a config.json"))
    return list(found.values())


def _first_phase(workdir: Path, config: ConfigDict) -> ConfigDict | None:
    """The config of what a run starts from; `init_from` may be relative to where the run was started."""
    if not config.init_from:
        return None
    for base in (Path(), *workdir.resolve().parents):
        place = base / config.init_from
        try:
            if (place / "config.json").is_file():
                return run_config.from_dict(read_json(place / "config.json"))
            if place.is_file():
                return load_weights(place).config
        except (OSError, ValueError, RecursionError):  # damaged, or no name of a file
            return None
    return None


def _identity(config: ConfigDict) -> dict[str, Any]:
    return {key: value for key, value in _facts(config).items() if key not in _IDENTITY}


def _facts(config: ConfigDict) -> dict[str, Any]:
    """Every key of a config that has an effect, flat, with the network's own fields in place of its preset's.

    Under 'model.name' is the class of a network that the paper has no terms for.
    """
    idle = _idle_keys(config)
    flat = {key: value for key, value in _flat(config.to_dict()) if key not in idle}
    network = network_of(config, 0)
    for key in flat:
        if key.startswith("model.") and key != "model.dtype":
            flat[key] = getattr(network, key.removeprefix("model."))
    if not paper.in_papers_terms(network):
        flat["model.name"] = type(network).__name__
    return flat


def _idle_keys(config: ConfigDict) -> set[str]:
    """Keys that the values of others leave without effect."""
    idle = {"model.name"}  # its fields stand for it
    network = network_of(config, 0)
    if paper.in_papers_terms(network) and network.block == "inception":
        idle.add("model.repeats")  # such a stage has one unit of each kind
    if config.schedule.name == "warmup_step":
        idle |= {"schedule.cycle_epochs", "schedule.cycle_decay", "schedule.floor"}
    else:
        idle |= {"schedule.warmup_epochs", "schedule.boundaries", "schedule.factor"}
    if not config.swag.collect:
        idle |= {f"swag.{key}" for key in config.swag}
    if not config.loss.triplet_weight:
        idle |= {f"loss.{key}" for key in ("mining", "soft_margin", "margin", "detach_weights", "nonzero_mean")}
    elif config.loss.soft_margin:
        idle.add("loss.margin")
    return idle


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _group(runs: list[Run]) -> Group:
    run = runs[0]
    # Of a second phase whose first is gone, all but the schedule tells what the first one was.
    first = run.first if run.second_phase and run.first is not None else run.config
    nearest, size, differs = _nearest(first)
    later: dict[str, str] = {}
    if run.second_phase:
        later = _later(run)
        if run.first is None:
            for key in [key for key in differs if key == "epochs" or key.startswith("schedule.")]:
                del differs[key]
            differs["starts from"] = f"{shown(run.config.init_from)}, which is not there"
    switches = paper.switches_of(first)
    return Group(runs, switches, nearest, size, differs, later, _parameters(run.config))


def _nearest(config: ConfigDict) -> tuple[str, str, dict[str, str]]:
    """(column or setup, size, key -> value that differs from the paper's run of it), the fewest differences first.

    Of a network that the paper has no terms for: (its name, '', what differs from a run by default with it).
    """
    facts, switches = _facts(config), paper.switches_of(config)
    if paper.in_papers_terms(network_of(config, 0)):
        candidates = [one for one in _references() if one[2] == switches] or _references()
    else:
        name = config.model.name
        candidates = [(name, "", None, _facts(run_config.default(name)))]
    sized, found = paper.size_of(config) is not None, []
    for name, size, _, wanted in candidates:
        wanted = dict(wanted)
        if config.schedule.name == "warmup_step":  # a compressed schedule of the same shape is a matter of epochs
            factor = config.epochs / wanted["epochs"]
            wanted["schedule.warmup_epochs"] *= factor
            wanted["schedule.boundaries"] = tuple(boundary * factor for boundary in wanted["schedule.boundaries"])
        differs = {
            key: _value(value)
            for key, value in facts.items()
            if key == "dataset" or key not in _IDENTITY and not (key in wanted and _close(value, wanted[key]))
        }
        # A network of a column's size is near a column of that size; one of a size of its own near the column whose
        # switches it has, by how ever many widths it is off.
        of_plan = sum(key.removeprefix("model.") in paper.PLAN for key in differs)
        found.append(((sized and of_plan > 0, len(differs) - of_plan, of_plan), (name, size, differs)))
    return min(found, key=lambda one: one[0])[1]


@functools.cache
def _references() -> list[tuple[str, str, paper.Switches, dict[str, Any]]]:
    """(name, size, switches, facts) of every first phase in the paper's tables."""
    columns = {name: one for name, one in paper.COLUMNS.items() if one.update == "none"}
    named = {**columns, "setup 1": paper.SETUPS["1"]}
    return [
        (name, size, switches, _facts(paper.set_switches(run_config.default(), switches, size)))
        for size in paper.SIZES
        for name, switches in named.items()
    ]


def _later(run: Run) -> dict[str, str]:
    """Where a second phase departs from the paper's, and from its first phase's losses and data."""
    config = run.config
    cycles = config.epochs / config.schedule.cycle_epochs
    later = {}
    if not _close((cycles, config.schedule.cycle_epochs), (float(_PAPER_CYCLES), float(_PAPER_CYCLE_EPOCHS))):
        later["cycles"] = f"{cycles:g} x {config.schedule.cycle_epochs:g} epochs"
    default = dict(_flat(run_config.default().to_dict()))
    facts, before = _facts(config), _facts(run.first) if run.first is not None else None
    for key, value in facts.items():
        if key in _IDENTITY | {"epochs", "schedule.name", "schedule.cycle_epochs", "swag.collect"}:
            continue
        own = key.startswith(("schedule.cycle", "schedule.floor", "swag."))
        usual = default[key] if own else (value if before is None else before.get(key, value))
        if not _close(value, usual):
            later[key] = _value(value)
    return later


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
    return a == b


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    return shown(value)


def _parameters(config: ConfigDict) -> int:
    return _count(network_of(config, 0), tuple(config.image_size))


@functools.cache
def _count(network: Any, image_size: tuple[int, int]) -> int:
    image = jax.ShapeDtypeStruct((2, *image_size, 3), np.float32)
    params = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)["params"]
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def _order(group: Group) -> tuple:
    names = [*paper.COLUMNS, "setup 1"]
    return (
        group.size != "paper",
        group.size,
        names.index(group.nearest) if group.nearest in names else len(names),
        group.nearest,
        len(group.differs),
        str(group.differs),
        group.second_phase,
        str(group.later),
    )


def shared_differences(groups: Sequence[Group]) -> dict[str, str]:
    """What all groups' first phases have in common besides a column: told once instead of in every row."""
    common = dict(groups[0].differs)
    for group in groups[1:]:
        common = {key: value for key, value in common.items() if group.differs.get(key) == value}
    return common


def remarks(group: Group, data: str = "", shared: Mapping[str, str] | None = None) -> tuple[str, str]:
    """What sets a group's first and its second phase apart, as text: 'epochs=60, val_identities=50', 'cycles=5 x 3'.

    Without what is `shared`, and without the training set where it is `data`, that of the scores.
    """
    own = {
        key: value
        for key, value in group.differs.items()
        if key not in (shared or {}) and not (key == "dataset" and _same_set(value, data))
    }
    return tuple(", ".join(f"{key}={value}" for key, value in one.items()) for one in (own, group.later))


def label(group: Group, data: str = "", shared: Mapping[str, str] | None = None) -> str:
    """One line that tells a group from the others: size, column or the nearest one, phase, and its `remarks`."""
    exact = group.switches in (*paper.COLUMNS.values(), *paper.SETUPS.values())
    name = "" if exact or not group.size else "near "
    name += group.nearest if group.size in ("paper", "") else f"{group.size} {group.nearest}"
    if group.second_phase:
        name += ", second phase"
    told = ", ".join(filter(None, remarks(group, data, shared)))
    return f"{name}: {told}" if told else name


def _same_set(trained: str, scored: str) -> bool:
    """Whether scores on a set are of the set trained on; the scores' name may spell out options left to default."""
    (name, _, options), (scored_name, _, scored_options) = trained.partition(":"), scored.partition(":")
    return name == scored_name and set(filter(None, options.split(","))) <= set(scored_options.split(","))
