"""Runs grouped: what differs in nothing but the seed belongs together, and has a mean and a spread.

Which column of the paper's tables a group is, and what else sets it apart from the paper's run, is read from the
configs (`reid_jax.reporting.paper`). A network that the paper has no terms for is no column: its runs are listed.
"""

import dataclasses
import functools
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from reid_jax import config as run_config
from reid_jax.errors import shown
from reid_jax.models.registry import build_network, network_of
from reid_jax.reporting import paper
from reid_jax.reporting.facts import SEED_KEYS, close, facts_of, flat_keys, value_text
from reid_jax.reporting.runs import HEADLINE, METRICS, Run, read_runs

_PAPER_CYCLES, _PAPER_CYCLE_EPOCHS = 15, 35


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
        scores = [run.scores[data][weights] for run in self.runs if weights in run.scores.get(data, {})]
        if not scores:
            return None
        return Score({m: [float(score[m]) for score in scores] for m in METRICS if all(m in score for score in scores)})

    def reached(self, weights: str) -> paper.Switches | None:
        """The switches that its scores with these weights stand for, the update included."""
        update = {"trained": "cycles", "swag": "swag"} if self.second_phase else {"trained": "none"}
        if self.switches is None or weights not in update:
            return None
        return dataclasses.replace(self.switches, update=update[weights])


@dataclasses.dataclass(frozen=True)
class Gathered:
    """All groups, and the folders that are left out with the reason: (folder, reason)."""

    groups: list[Group]
    left_out: list[tuple[Path, str]]


def gather(paths: Iterable[str | os.PathLike]) -> Gathered:
    """Reads the runs in `paths` and groups them; see `read_runs` for which are left out, and what it raises."""
    runs, left_out = read_runs(paths)
    by_kind: dict[str, list[Run]] = {}
    for run in runs:
        by_kind.setdefault(run.kind, []).append(run)
    groups = [_group(sorted(same, key=lambda run: run.seeds)) for same in by_kind.values()]
    return Gathered(sorted(groups, key=_order), left_out)


def scored_rows(gathered: Gathered) -> list[tuple[Group, str, str, Score]]:
    """(group, data set, weights, score) of everything that was scored, untrained weights apart, by data set."""
    rows = []
    for group in gathered.groups:
        for data in group.sets:
            for weights in ("trained", "swa", "swag"):
                score = group.score(data, weights)
                if score is not None:
                    rows.append((group, data, weights, score))
    sets = list(dict.fromkeys(data for _, data, *_ in rows))
    return sorted(rows, key=lambda row: sets.index(row[1]))


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
        elif run.start:
            later["starts from"] = shown(run.start)
    elif run.config.init_from:
        starts = list(dict.fromkeys(run.config.init_from for run in runs))
        differs["starts from"] = shown(starts[0]) + (f" and {len(starts) - 1} more" if len(starts) > 1 else "")
    switches = paper.switches_of(first)
    return Group(runs, switches, nearest, size, differs, later, _parameters(run.config))


def _nearest(config: ConfigDict) -> tuple[str, str, dict[str, str]]:
    """(column or setup, size, key -> value that differs from the paper's run of it), the fewest differences first.

    Of a network that the paper has no terms for: (its name, '', what differs from a run by default with it).
    """
    facts, switches = facts_of(config), paper.switches_of(config)
    if paper.in_papers_terms(build_network(config, 0)):
        candidates = [known for known in _references() if known[2] == switches] or _references()
    else:
        name = config.model.name
        candidates = [(name, "", None, facts_of(run_config.default(name)))]
    sized, ranked = paper.size_of(config) is not None, []
    for name, size, _, wanted in candidates:
        wanted = dict(wanted)
        if config.schedule.name == "warmup_step":  # a compressed schedule of the same shape is a matter of epochs
            factor = config.epochs / wanted["epochs"]
            wanted["schedule.warmup_epochs"] *= factor
            wanted["schedule.boundaries"] = tuple(boundary * factor for boundary in wanted["schedule.boundaries"])
        differs = {
            key: value_text(value)
            for key, value in facts.items()
            if key == "dataset" or key not in SEED_KEYS and not (key in wanted and close(value, wanted[key]))
        }
        # A network of a column's size is near a column of that size; one of a size of its own near the column whose
        # switches it has, by how ever many widths it is off.
        of_plan = sum(key.removeprefix("model.") in paper.PLAN for key in differs)
        ranked.append(((sized and of_plan > 0, len(differs) - of_plan, of_plan), (name, size, differs)))
    return min(ranked, key=lambda entry: entry[0])[1]


@functools.cache
def _references() -> list[tuple[str, str, paper.Switches, dict[str, Any]]]:
    """(name, size, switches, facts) of every first phase in the paper's tables."""
    columns = {name: switches for name, switches in paper.COLUMNS.items() if switches.update == "none"}
    named = {**columns, "setup 1": paper.SETUPS["1"]}
    return [
        (name, size, switches, facts_of(paper.set_switches(run_config.default(), switches, size)))
        for size in paper.SIZES
        for name, switches in named.items()
    ]


def _later(run: Run) -> dict[str, str]:
    """Where a second phase departs from the paper's, and from its first phase's losses and data."""
    config = run.config
    cycles = config.epochs / config.schedule.cycle_epochs
    later = {}
    if not close((cycles, config.schedule.cycle_epochs), (float(_PAPER_CYCLES), float(_PAPER_CYCLE_EPOCHS))):
        later["cycles"] = f"{cycles:g} x {config.schedule.cycle_epochs:g} epochs"
    default = dict(flat_keys(run_config.default().to_dict()))
    facts, before = facts_of(config), facts_of(run.first) if run.first is not None else None
    for key, value in facts.items():
        if key in SEED_KEYS | {"epochs", "schedule.name", "schedule.cycle_epochs", "swag.collect"}:
            continue
        own = key.startswith(("schedule.cycle", "schedule.floor", "swag."))
        usual = default[key] if own else (value if before is None else before.get(key, value))
        if not close(value, usual):
            later[key] = value_text(value)
    return later


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
    """What all groups' first phases have in common besides a column: said once instead of in every row."""
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
    return tuple(
        ", ".join(f"{key}={value}" for key, value in differences.items()) for differences in (own, group.later)
    )


def label(group: Group, data: str = "", shared: Mapping[str, str] | None = None) -> str:
    """One line that tells a group from the others: size, column or the nearest one, phase, and its `remarks`."""
    exact = group.switches in (*paper.COLUMNS.values(), *paper.SETUPS.values())
    name = "" if exact or not group.size else "near "
    name += group.nearest if group.size in ("paper", "") else f"{group.size} {group.nearest}"
    if group.second_phase:
        name += ", second phase"
    details = ", ".join(filter(None, remarks(group, data, shared)))
    return f"{name}: {details}" if details else name


def _same_set(trained: str, scored: str) -> bool:
    """Whether scores on a set are of the set trained on; the scores' name may spell out options left to default."""
    (name, _, options), (scored_name, _, scored_options) = trained.partition(":"), scored.partition(":")
    return name == scored_name and set(filter(None, options.split(","))) <= set(scored_options.split(","))
