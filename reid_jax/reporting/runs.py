"""Finished runs, read back from their workdirs.

A run is what its config says it is, never what its folder is called; a second phase counts by its own config and by
that of the run it starts from.
"""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from reid_jax import config as run_config
from reid_jax import zoo
from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.json_files import read_json
from reid_jax.ranges import real
from reid_jax.reporting.facts import kind_of
from reid_jax.training.metric_writer import read_records
from reid_jax.weights import LAST, load_weights

METRICS = ("rank1", "rank5", "rank10", "mAP", "mAP_trapezoid", "mINP")
HEADLINE = ("rank1", "mAP")
# Whose scores: before training (from scratch, or of the weights started from), the last, their mean, its samples.
WEIGHTS = ("untrained", "start", "trained", "swa", "swag")
HELD_OUT = "held out"  # begins the name of the data set that is a run's held-out identities


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its folder, its config, that of the run it starts from, its scores and its records.

    scores: data set -> weights (one of `WEIGHTS`) -> metric -> fraction; 'held out, ...' is a data set as well.
    first: None where the run starts from scratch, or where what it starts from is not there any more.
    start: '' from scratch and from a run's last weights, the file's name for others in its workdir, else `init_from`.
    """

    workdir: Path
    config: ConfigDict
    first: ConfigDict | None
    start: str
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
        first = None if self.first is None else kind_of(self.first)
        return json.dumps([kind_of(self.config), first, self.start], sort_keys=True)


def read_runs(paths: Iterable[str | os.PathLike]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """Reads the runs in `paths`: workdirs, or folders with workdirs somewhere below; files are passed over.

    Returns the runs, and (folder, reason) for those left out: unfinished, broken, or a copy of another, which gets
    its scores on further data sets. Raises InputError for a path that is not there.
    """
    left_out: list[tuple[Path, str]] = []
    runs: dict[tuple, Run] = {}
    for workdir in _workdirs(paths, left_out):
        try:
            run = read_run(workdir)
        except InputError as error:
            left_out.append((workdir, shown(error, 500)))
            continue
        known = runs.setdefault((run.kind, run.seeds), run)
        if known is not run:
            reason = f"the same config and seed as {shown(known.workdir)}"
            further = {data: scores for data, scores in run.scores.items() if data not in known.scores}
            if further:  # scored on other sets
                runs[run.kind, run.seeds] = dataclasses.replace(known, scores=known.scores | further)
                reason += f", whose scores those on {first_few(list(further))} are counted among"
            left_out.append((workdir, reason))
    return list(runs.values()), left_out


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
        if not all(map(_FRACTION.holds, last.values())):
            raise InputError("metrics.jsonl holds scores of held-out identities that are no fractions")
        if set(HEADLINE) <= last.keys():
            name = f"{HELD_OUT}, {config.val_identities} identities of {shown(config.dataset)}"
            scores[name] = {"trained": last}
    return Run(workdir, config, *_first_phase(workdir, config), scores, records)


_FRACTION = real(0, 1)


def _fraction(value: Any) -> float:
    if not _FRACTION.holds(value):
        raise ValueError(value)
    return float(value)


def _workdirs(paths: Iterable[str | os.PathLike], left_out: list[tuple[Path, str]]) -> list[Path]:
    workdirs: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_file():
            continue  # 'runs/*' names a sweep's logs too
        if not path.is_dir():
            raise InputError(f"{path} does not exist; name workdirs of runs, or folders that hold some")
        before = len(workdirs)
        for folder, folders, files in os.walk(path):
            folders.sort()
            if "config.json" in files:
                folders.clear()
                workdirs.setdefault(Path(folder).resolve(), Path(folder))
        if len(workdirs) == before and not any(path.resolve() in (known, *known.parents) for known in workdirs):
            left_out.append((path, "no run: neither it nor a folder below has a config.json"))
    return list(workdirs.values())


def _first_phase(workdir: Path, config: ConfigDict) -> tuple[ConfigDict | None, str]:
    """`Run.first` and `Run.start`; `init_from` may be relative to where the run was started."""
    if not config.init_from:
        return None, ""
    if zoo.is_name(config.init_from):
        try:
            return load_weights(config.init_from).config, config.init_from
        except InputError:  # it is not here
            return None, config.init_from
    for base in (Path(), *workdir.resolve().parents):
        start = base / os.path.expanduser(config.init_from)
        try:
            if (start / "config.json").is_file():
                return run_config.from_dict(read_json(start / "config.json")), ""
            if start.is_file():
                of_run = (start.parent / "config.json").is_file()
                name = start.name if of_run else config.init_from
                return load_weights(start).config, "" if of_run and name == LAST else name
        except (OSError, ValueError, RecursionError):  # damaged, or no name of a file
            break
    return None, config.init_from
