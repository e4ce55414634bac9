#!/usr/bin/env python3
"""Walks a sweep: prints its commands, runs them on this machine, or writes a job array for SLURM.

  python launch/sweep.py configs/sweeps/table2.py:seeds=3 --out=runs/table2              # print the commands
  python launch/sweep.py configs/sweeps/table2.py:seeds=3 --out=runs/table2 --run=2      # two at a time, here
  python launch/sweep.py configs/sweeps/table2.py:seeds=3 --out=runs/table2 --gpus=0,1   # one on each of two GPUs
  python launch/sweep.py configs/sweeps/table2.py:seeds=3 --out=runs/table2 --slurm=jobs "--sbatch=--gres=gpu:1"

The same command goes on: runs that have their results are skipped, interrupted ones resume, failed ones are tried once
more. A run that fails does not stop the others, but those that start from it. Ctrl-C, or SIGTERM, lets the running ones
save.
Exit code: 0 where all runs are done, 1 where some are not, 2 for bad input.

A sweep file is a config file that also defines `sweep(add, arg)`, with `arg` the text after its ':'. It calls

  workdir = add(name, config="FILE.py:ARG", after=[workdir], **{"KEY": value})

once a run, and gets the run's folder, OUT/name. `config` is looked for in the folder above the sweep's, `configs/`;
without it the run's config is the sweep file's own `get_config(arg)`. Every other keyword is a key of the config, and
`after` names the folders of the runs that have to be finished first. `--config.KEY=VALUE` on the command line is set
for every run that does not come after another: a second phase takes over what its first phase had. A key that such a
run sets itself is refused there.
"""

import argparse
import dataclasses
import fcntl
import fnmatch
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.files.json_files import read_json
from reid_jax.files.writing import replace_file, require_writable_folder
from reid_jax.own_modules import own_modules
from reid_jax.text_table import format_table

TRAIN = [sys.executable, "-m", "reid_jax.main", "train"]
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep: the arguments of `reid-jax train`, and the names of the runs it starts from."""

    name: str
    config: str
    overrides: tuple[str, ...]
    workdir: Path
    after: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """The arguments of `reid-jax train`."""
        return [f"--config={self.config}", f"--workdir={self.workdir}", *self.overrides]

    @property
    def log(self) -> Path:
        """Where its output goes: beside the workdir, which belongs to the run."""
        return self.workdir.with_name(f"{self.name}.log")

    @property
    def done(self) -> bool:
        """Whether it has its results: they are written last."""
        return (self.workdir / "results.json").is_file()


def load_sweep(file: str, out: Path, common: Sequence[str] = ()) -> list[Run]:
    """Returns the runs that the sweep 'FILE.py' or 'FILE.py:ARG' adds, each after those it starts from.

    `common` is set for every run that comes after no other. Raises InputError for a missing or broken file, a name that
    is no folder's or given twice, an `after` that was not added before, and a key of `common` that such a run sets.
    """
    path, arg = run_config.split_file(file)
    configs = Path(os.path.normpath(path.parent / os.pardir))
    common_keys = [override.removeprefix("--config.").partition("=")[0] for override in common]
    if not path.is_file():
        raise InputError(f"{path} is no file; give a sweep, see configs/sweeps/ for those there are")
    if "," in str(out):
        raise InputError(f"--out is {out}; a second phase names its run in a config argument, which ends at a comma")
    runs: dict[str, Run] = {}

    def add(name: str, config: str | None = None, after: str | Sequence[str] = (), **keys: Any) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", name):
            raise InputError(f"run name {name!r} is no folder's; use letters, digits, '.', '_' and '-'")
        if name in runs:
            raise InputError(f"two runs are called {name}; a name is a folder")
        # Read back by their folders: those are what the sweep was given.
        names = {str(run.workdir): run.name for run in runs.values()}
        before = [after] if isinstance(after, str) else list(after)
        for folder in before:
            if folder not in names:
                raise InputError(f"run {name} comes after {folder!r}, which is no folder that add() has returned")
        given = [] if before else common
        for key in common_keys if given else ():
            if key in keys:
                raise InputError(
                    f"--config.{key} is meant for every run, but run {name} sets {key}={_text(keys[key])} itself; "
                    "leave the option out, or change the sweep"
                )
        own = [f"--config.{key}={_text(value)}" for key, value in keys.items()]
        where = str(configs / config) if config else file
        after_names = tuple(names[folder] for folder in before)
        runs[name] = Run(name, where, (*given, *own), out / name, after_names)
        return str(runs[name].workdir)

    try:
        with own_modules(path):
            runpy.run_path(str(path))["sweep"](add, arg or None)
    except InputError as error:
        raise InputError(f"sweep {path}: {error}") from error
    except Exception as error:  # a sweep is the user's own code: it may raise anything
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        missing = isinstance(error, KeyError) and error.args == ("sweep",)
        reason = "it defines no sweep(add, arg)" if missing else f"{type(error).__name__}{where}: {error}"
        raise InputError(f"sweep {path}: {reason}") from error
    if not runs:
        raise InputError(f"sweep {path} adds no run")
    return list(runs.values())


def _text(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    numbers = tuple(each.item() if isinstance(each, np.generic) else each for each in value)
    return "".join(str(numbers).split())


def check(run: Run, done: set[str]) -> None:
    """Raises InputError where the run's config cannot be read, or its folder holds a run of another config.

    Before the runs that it starts from are done there is nothing to read its config from, and nothing is checked. A run
    that is done may have been moved together with the one that it started from.
    """
    if not set(run.after) <= done:
        return
    try:
        wanted = run_config.to_dict(run_config.load(run.config, run.overrides))
    except InputError as error:
        raise InputError(f"run {run.name}: {error}") from error
    stored = read_json(run.workdir / "config.json")
    if run.done and isinstance(stored, dict):
        start = wanted["init_from"]
        if Path(str(stored.get("init_from"))).name == Path(start).name:
            stored = {**stored, "init_from": start}
    changed = "; ".join(run_config.differences(stored, wanted)) if stored is not None else ""
    if changed:
        raise InputError(f"run {run.name}: {run.workdir} holds a run of another config ({changed}); give another --out")


class Pool:
    """Runs commands on this machine, `len(slots)` at a time; a slot is what its run's environment gets besides."""

    def __init__(self, runs: Sequence[Run], slots: Sequence[dict[str, str]], say: Callable[[str], None] = print):
        self.runs, self.say = runs, say
        self.state = {run.name: "done" if run.done else "waiting" for run in runs}
        self.note: dict[str, str] = {run.name: "" for run in runs}
        self._free = list(slots)
        self._running: dict[str, tuple[Run, subprocess.Popen, dict[str, str], float]] = {}
        self._stops = 0

    def stop(self, *_signal: Any) -> None:
        """Lets the running ones save and starts no more; a second time, ends them as they are."""
        self._stops += 1
        for _, process, *_ in self._running.values():
            process.kill() if self._stops > 1 else process.terminate()

    def walk(self) -> None:
        """Runs all that can be run; returns when nothing is running any more."""
        while True:
            for run in self.runs:
                if self.state[run.name] == "waiting" and not self._stops:
                    self._begin(run)
            if not self._running:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for name in [name for name, (_, process, *_) in self._running.items() if process.poll() is not None]:
                self._end(name)

    def _begin(self, run: Run) -> None:
        lost = [name for name in run.after if self.state[name] in ("failed", "blocked", "stopped")]
        if lost:
            self.state[run.name], self.note[run.name] = "blocked", f"starts from {lost[0]}"
            return
        if not self._free or any(self.state[name] != "done" for name in run.after):
            return
        try:
            check(run, set(run.after))
        except InputError as error:
            self.state[run.name], self.note[run.name] = "failed", str(error)
            self.say(f"failed   {run.name}: {error}")
            return
        run.log.parent.mkdir(parents=True, exist_ok=True)
        with run.log.open("ab") as log:
            try:
                # The run inherits the lock with its output, and holds it even where it outlives this program.
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.state[run.name] = "failed"
                self.note[run.name] = f"another process is at work on it and writes to {run.log}"
                return
            slot = self._free.pop(0)
            process = subprocess.Popen(
                [*TRAIN, *run.arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **slot},
                start_new_session=True,  # Ctrl-C is for this program, which tells its runs to save
            )
        self.state[run.name] = "running"
        self._running[run.name] = run, process, slot, time.monotonic()
        self.say(f"started  {run.name}, output in {run.log}")

    def _end(self, name: str) -> None:
        run, process, slot, began = self._running.pop(name)
        self._free.append(slot)
        code = process.returncode
        if code == 0 and run.done:
            self.state[name] = "done"
        elif code == 0 or self._stops:
            self.state[name], self.note[name] = "stopped", "the same command resumes it"
        else:
            self.state[name], self.note[name] = "failed", f"exit code {code}, {_last_line(run.log)}; see {run.log}"
        counts = [f"{list(self.state.values()).count(state)} {state}" for state in ("done", "running", "failed")]
        self.say(f"{self.state[name]:8} {name} after {_clock(time.monotonic() - began)}; {', '.join(counts)}")


def summary(runs: Sequence[Run], state: dict[str, str], note: dict[str, str]) -> str:
    """A line a run (its state, what it scored or what is wrong) and one with the counts."""
    table = format_table([(run.name, state[run.name], note[run.name] or _scores(run)) for run in runs], left=3)
    states = list(state.values())
    counts = [f"{states.count(one)} {one}" for one in dict.fromkeys(["done", *sorted(set(states))]) if one in states]
    return "\n".join([table, f"{len(runs)} runs: {', '.join(counts)}"])


def _scores(run: Run) -> str:
    if not run.done:
        return ""
    try:
        parts = []
        for name, kinds in read_json(run.workdir / "results.json").items():
            for kind, metrics in kinds.items():
                if kind not in ("untrained", "start"):
                    figures = f"{100 * metrics['rank1']:.1f} / {100 * metrics['mAP']:.1f}"
                    parts.append(f"{name.partition(':')[0]} {kind} {figures}")
        return ", ".join(parts)
    except (InputError, AttributeError, KeyError, TypeError) as error:
        return f"results.json cannot be read: {error!r:.60}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


JOB = """\
#!/bin/bash
# The runs of a sweep, each a task of a job array: submit.sh submits them. A task is launch/slurm.sbatch with a run's
# arguments; stopped by the time limit or preempted, it queues itself again.
#SBATCH --job-name={job}
#SBATCH --output={own_output}
#SBATCH --open-mode=append
#SBATCH --chdir={root}
#SBATCH --requeue
#SBATCH --signal=TERM@180
{options}
case $SLURM_ARRAY_TASK_ID in
{cases}
esac
exec bash {launcher} "${{run[@]}}" >>"$log" 2>&1
"""


def write_jobs(runs: Sequence[Run], folder: Path, sweep: str, sbatch: str) -> tuple[int, Path]:
    """Writes SWEEP.sbatch, whose tasks are the runs that are not done, and submit.sh, which submits them.

    Those that wait for no other are one job array; each of the rest is a task of its own, behind those it starts from.
    Returns (the number of tasks, submit.sh). `sbatch`: options for every task, as on sbatch's command line.
    """
    waiting = [run for run in runs if not run.done]
    task = {run.name: number for number, run in enumerate(waiting)}
    before = {run.name: [name for name in run.after if name in task] for run in waiting}
    at_once = [task[run.name] for run in waiting if not before[run.name]]
    cases = []
    for run in waiting:
        log = shlex.quote(str(run.log.resolve()))
        cases.append(f"  {task[run.name]}) log={log}; run=({shlex.join(run.arguments)}) ;;")
        run.log.parent.mkdir(parents=True, exist_ok=True)
    text = JOB.format(
        job=_for_sbatch(sweep),
        own_output=_for_sbatch(str(folder.resolve()).replace("%", "%%") + "/%x-%a.out"),
        root=_for_sbatch(str(Path.cwd())),
        options="".join(f"#SBATCH {option}\n" for option in _options(sbatch)),
        cases="\n".join(cases),
        launcher=shlex.quote(str(Path(__file__).resolve().with_name("slurm.sbatch"))),
    )
    file, submit = folder / f"{sweep}.sbatch", folder / "submit.sh"
    quoted = shlex.quote(file.name)
    lines = [
        "#!/bin/bash",
        f"# Submits the runs in {file.name}, each after those it starts from.",
        "set -euo pipefail",
        'cd "$(dirname "$0")"',
    ]
    # Singleton: a job of the same name, still queued from another time, is never at work beside this one.
    if at_once:
        numbers = ",".join(map(str, at_once))
        lines.append(f"array=$(sbatch --parsable --array={numbers} --dependency=singleton {quoted})")
    queued = {name: f"${{array}}_{number}" for name, number in task.items() if number in at_once}
    for name, number in task.items():
        if before[name]:
            depends = ",".join(["singleton", *(f"afterok:{queued[other]}" for other in before[name])])
            job = shlex.quote(f"{sweep}-{name}")
            options = f'--job-name={job} --array={number} --kill-on-invalid-dep=yes --dependency="{depends}"'
            lines.append(f"job{number}=$(sbatch --parsable {options} {quoted})")
            queued[name] = f"${{job{number}}}_{number}"
        lines.append(f'echo "{name}: job {queued[name]}"')
    for path, content, mode in ((file, text, 0o644), (submit, "\n".join(lines) + "\n", 0o755)):

        def write(temporary: Path, content: str = content, mode: int = mode) -> None:
            temporary.write_text(content)
            temporary.chmod(mode)

        replace_file(path, write)
    return len(waiting), submit


def _for_sbatch(value: str) -> str:
    """The value as a line '#SBATCH --option=value' takes it: in double quotes but for the plainest."""
    if re.fullmatch(r"[\w%+,./:=@^~-]*", value):
        return value
    return '"{}"'.format(re.sub(r'(["\\])', r"\\\1", value))


def _options(text: str) -> list[str]:
    """'--gres=gpu:1 --comment "a b"' -> ['--gres=gpu:1', '--comment "a b"'], as lines of a job file."""
    options: list[str] = []
    for word in shlex.split(text):
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            options.append(f"{name}={_for_sbatch(value)}" if equals else _for_sbatch(word))
        elif options:
            options[-1] += f" {_for_sbatch(word)}"
        else:
            raise InputError(f"--sbatch begins with {word!r}; give options as on sbatch's command line")
    return options


def _slots(args: argparse.Namespace) -> list[dict[str, str]]:
    if args.gpus:
        gpus = [gpu.strip() for gpu in args.gpus.split(",")]
        if not all(gpus):
            raise InputError(f"--gpus is {args.gpus!r}; give the numbers of GPUs with a comma between two: 0,1")
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus]
    if args.run < 1:
        raise InputError(f"--run is {args.run}; give the number of runs at a time, at least 1")
    # Several on one GPU: none may reserve most of its memory.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if args.run > 1 else {}
    return [shared] * args.run


def main(arguments: Sequence[str] | None = None) -> int:
    """Walks the sweep that the arguments name; returns the exit code."""
    first, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="launch/sweep.py", description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sweep", metavar="FILE.py[:ARG]", help="a file of configs/sweeps/")
    parser.add_argument("--out", required=True, help="folder of the runs' workdirs")
    parser.add_argument("--only", metavar="PATTERN", help="only runs of these names, such as 'g-*'")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--run", type=int, nargs="?", const=1, metavar="N", help="run here, N at a time (default 1)")
    where.add_argument("--gpus", metavar="0,1", help="run here, one at a time on each of these GPUs")
    where.add_argument(
        "--slurm", metavar="DIR", help="write a job array, a task a run, into this folder, and submit.sh"
    )
    parser.add_argument("--sbatch", default="", metavar="OPTIONS", help="with --slurm: options of every task")
    args, others = parser.parse_known_args(arguments)
    common = [other for other in others if other.startswith("--config.")]
    for other in others:
        if other not in common:
            parser.error(f"no argument {other}")
    try:
        return _walk(args, common)
    except InputError as error:
        print(f"launch/sweep.py: error: {error}", file=sys.stderr)
        return 2


def _walk(args: argparse.Namespace, common: Sequence[str]) -> int:
    runs = load_sweep(args.sweep, Path(os.path.expanduser(args.out)), common)
    if args.only:
        chosen = [run for run in runs if fnmatch.fnmatch(run.name, args.only)]
        known = {run.name for run in chosen}
        for run in chosen:
            missing = [other for other in runs if other.name in set(run.after) - known and not other.done]
            if missing:
                raise InputError(f"run {run.name} starts from {missing[0].name}, which is not done; add it to --only")
        if not chosen:
            raise InputError(f"--only is {args.only!r}; no run is called so: {', '.join(run.name for run in runs)}")
        runs = [dataclasses.replace(run, after=tuple(set(run.after) & known)) for run in chosen]
    done = {run.name for run in runs if run.done}
    for run in runs:
        check(run, done)
    if args.slurm:
        folder = os.path.expanduser(args.slurm)
        require_writable_folder("--slurm", folder)
        name = run_config.split_file(args.sweep)[0].stem
        tasks, submit = write_jobs(runs, Path(folder), name, args.sbatch)
        print(f"{tasks} tasks for {len(runs)} runs, {len(done)} done before; submit them by {submit}")
        return 0
    if args.run is None and not args.gpus:
        for run in runs:
            note = "  # done" if run.done else f"  # after {', '.join(run.after)}" if run.after else ""
            print(shlex.join(["reid-jax", "train", *run.arguments]) + note)
        return 0
    require_writable_folder("--out", os.path.expanduser(args.out))
    pool = Pool(runs, _slots(args), lambda line: print(line, flush=True))
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, pool.stop) for number in signals]
    try:
        pool.walk()
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    print(summary(runs, pool.state, pool.note))
    return 0 if set(pool.state.values()) == {"done"} else 1


if __name__ == "__main__":
    sys.exit(main())
