"""Damages a finished run's files in every way of a list, resumes, and counts what is right: `python tests/damage.py`.

Most cases open, restore and read in this process what `reid-jax train` opens, restores and reads. A few, with
--commands, run the whole command and compare its results, byte for byte, with those of the sound run.
Minutes, most of them for restoring.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from reid_jax import config as run_config  # noqa: E402
from reid_jax import parallel  # noqa: E402
from reid_jax.data.builders import records  # noqa: E402
from reid_jax.data.datasets import find_source  # noqa: E402
from reid_jax.errors import InputError  # noqa: E402
from reid_jax.files.json_files import read_json  # noqa: E402
from reid_jax.models.registry import network_of  # noqa: E402
from reid_jax.text_table import format_table  # noqa: E402
from reid_jax.training.assemble import optimizer_of, schedule_of  # noqa: E402
from reid_jax.training.checkpoint import Checkpoints, recover  # noqa: E402
from reid_jax.training.metric_writer import MetricWriter  # noqa: E402
from reid_jax.training.start_scores import read_start_scores  # noqa: E402
from reid_jax.training.state import create_state, init_variables  # noqa: E402
from reid_jax.training.workdir import claimed  # noqa: E402

CONFIG = ROOT / "tests" / "tiny_config.py"
OLDER, NEWEST = 60, 80  # the checkpoints that the tiny run keeps; an earlier one that scored best is left out
RESULTS = ("weights.safetensors", "best.safetensors", "metrics.jsonl", "results.json", "ranked.png.json", "config.json")

# What is to follow.
AN_OLDER = "the older checkpoint, the damaged one named"
UNHARMED = "the newest checkpoint"
EITHER = "the newest checkpoint, or the older one and the damaged one named"  # of what Orbax writes for itself
REFUSED = "one line that says what to do"
MADE_AGAIN = "the newest checkpoint, and scores to be made again, which is told"
LEFT_OUT = "the newest checkpoint, and all records but those of the broken lines"
PREPARED = "records prepared again"


@dataclasses.dataclass(frozen=True)
class Case:
    """A damage: its kind, its name, what does it to a workdir, and what is to follow."""

    kind: str
    name: str
    damage: Callable[[Path], object]
    follows: str


def cut(file: Path) -> None:
    """Leaves the first half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    """Flips one bit in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def zero(file: Path) -> None:
    """Keeps the size, and nothing else."""
    file.write_bytes(bytes(file.stat().st_size))


OF_A_FILE = {
    "cut": cut,
    "one bit flipped": flip,
    "zeroed": zero,
    "emptied": lambda file: file.write_bytes(b""),
    "gone": Path.unlink,
    "a folder": lambda file: [file.unlink(), file.mkdir()],
}

DEEP = b'{"a":' * 200_000
LONG = b'{"seed": 1' + b"0" * 5_000 + b"}"
OF_JSON = {
    "emptied": b"",
    "cut": b'{"seed": 0, "mod',
    "a number": b"5",
    "a list": b"[]",
    "a string": b'"seed"',
    "null": b"null",
    "no UTF-8": b"\xff\xfe{}",
    "zeroed": bytes(300),
    "200,000 levels deep": DEEP,
    "a number of 5,000 digits": LONG,
    "NaN": b'{"seed": NaN}',
}
OF_LINES = {
    "an empty line": b"",
    "half a line": b'{"step": 8, "lo',
    "a list": b"[8]",
    "a number": b"8",
    "no step": b'{"epoch": 0.8}',
    "a step in words": b'{"step": "8"}',
    "a metric in words": b'{"step": 8, "loss": "low"}',
    "a metric of 5,000 digits": b'{"step": 8, "loss": 1' + b"0" * 5_000 + b"}",
    "NaN": b'{"step": 8, "loss": NaN}',
    "no UTF-8": b'{"step": 8, "\xff": 1}',
    "200,000 levels deep": b"[" * 200_000,
    "zeroed": bytes(80),
}


def cases(run: Path) -> Iterator[Case]:
    """Yields the cases, for a run like the one at `run`."""
    checkpoints = run / "checkpoints"
    for step, files in ((NEWEST, "*"), (OLDER, "metrics/metrics")):
        for file in sorted(path for path in (checkpoints / str(step)).rglob(files) if path.is_file()):
            place = file.relative_to(run)
            own = file.parent.name == str(step) and file.name != "seal.json"
            kind = "Orbax's record of a checkpoint" if own else f"a file of checkpoint {step}"
            follows = EITHER if own else AN_OLDER if step == NEWEST else UNHARMED
            for name, damage in OF_A_FILE.items():
                yield Case(kind, f"{place} {name}", lambda w, p=place, d=damage: d(w / p), follows)
    yield from _folders()
    for name, content in OF_JSON.items():
        yield Case("config.json", name, lambda w, c=content: (w / "config.json").write_bytes(c), REFUSED)
        yield Case("before.json", name, lambda w, c=content: (w / "before.json").write_bytes(c), MADE_AGAIN)
    for name, content in (("no scores", b"{}"), ("another set's", b'{"market1501": {"rank1": 0.5, "mAP": 0.5}}')):
        yield Case("before.json", name, lambda w, c=content: (w / "before.json").write_bytes(c), MADE_AGAIN)
    for name, line in OF_LINES.items():
        yield Case("metrics.jsonl", f"{name} amid it", lambda w, b=line: _break_line(w, b), LEFT_OUT)
    yield Case("metrics.jsonl", "a folder", lambda w: OF_A_FILE["a folder"](w / "metrics.jsonl"), REFUSED)
    for name, content in {**OF_JSON, "no files": b"{}", "sizes in words": b'{"a": "b"}'}.items():
        yield Case("sizes.json of prepared records", name, lambda w, c=content: c, PREPARED)


def _folders() -> Iterator[Case]:
    def of(step, damage):
        return lambda workdir: damage(workdir / "checkpoints" / str(step))

    def empty(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    def foreign(folder):
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")

    def a_file(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.write_text("")

    def a_copy(folder):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(folder.with_name(str(OLDER)), folder)

    kind = "folders of checkpoints"
    yield Case(kind, "the newest emptied", of(NEWEST, empty), AN_OLDER)
    yield Case(kind, "the newest a file", of(NEWEST, a_file), AN_OLDER)
    yield Case(kind, "the newest a copy of another step", of(NEWEST, a_copy), AN_OLDER)
    yield Case(kind, "the newest without its arrays", of(f"{NEWEST}/default", shutil.rmtree), AN_OLDER)
    yield Case(kind, "the newest without its metrics", of(f"{NEWEST}/metrics", shutil.rmtree), AN_OLDER)
    yield Case(kind, "the older without its metrics", of(f"{OLDER}/metrics", shutil.rmtree), UNHARMED)
    for step in (5, 35, 70, 99, 10**30):
        yield Case(kind, f"an empty {step} beside", of(step, empty), UNHARMED)
        yield Case(kind, f"a foreign {step} beside", of(step, foreign), UNHARMED)
        yield Case(kind, f"a file {step} beside", of(step, a_file), UNHARMED)
        yield Case(kind, f"a copy {step} beside", of(step, a_copy), UNHARMED)
    for name in ("notes", "-5", "060", "80.5", "80.orbax-checkpoint-tmp", ".DS_Store"):
        yield Case(kind, f"a folder {name} beside", of(name, foreign), UNHARMED)
    every = {"emptied": empty, "a file": a_file, "flipped": lambda folder: flip(folder / "default" / "_METADATA")}
    for name, damage in every.items():
        both = [of(step, damage) for step in (OLDER, NEWEST)]
        yield Case(kind, f"all {name}", lambda w, both=both: [damage(w) for damage in both], REFUSED)
    yield Case(kind, "a file for all", lambda w: a_file(w / "checkpoints"), REFUSED)


def copy_of(run: Path, place: Path) -> Path:
    """Copies a workdir with its two latest checkpoints alone; returns `place`."""

    def others(folder, names):
        return [name for name in names if name.isdigit() and int(name) < OLDER and Path(folder).name == "checkpoints"]

    return shutil.copytree(run, place, ignore=others)


def _break_line(workdir: Path, line: bytes) -> None:
    lines = (workdir / "metrics.jsonl").read_bytes().split(b"\n")
    lines[3] = line
    (workdir / "metrics.jsonl").write_bytes(b"\n".join(lines))


class Resumption:
    """What a resumed run finds: as `reid_jax.train` opens it, without the data and the steps."""

    def __init__(self, config, run: Path):
        """`run`: the workdir that nothing happened to."""
        self.config, self.mesh = config, parallel.create_mesh()
        self.plain = run_config.to_dict(config)
        network = network_of(config, 10)
        variables = init_variables(network, jax.random.key(config.seed), config.image_size)
        optimizer = optimizer_of(config, schedule_of(config, 10), variables["params"])
        self.like = create_state(variables, optimizer)
        self.lines = (run / "metrics.jsonl").read_bytes().splitlines()
        self.states = {}
        for step in (OLDER, NEWEST):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(run / "checkpoints" / str(step), Path(folder) / str(step))
                self.states[step] = self._restore(Path(folder))

    def _changes(self, stored):
        return run_config.differences(stored, self.plain)

    def _restore(self, folder: Path):
        checkpoints = Checkpoints(folder, 2)
        state = jax.tree.map(np.asarray, checkpoints.restore(self.like, self.mesh))
        checkpoints.close()
        return state

    def __call__(self, workdir: Path, follows: str) -> str | None:
        """Resumes; returns what is wrong with what came of it, None where it is as it should be."""
        told = io.StringIO()
        try:
            with contextlib.redirect_stdout(told), claimed(workdir, self._changes):
                recover(workdir / "checkpoints")
                before = read_start_scores(workdir / "before.json", {self.config.dataset: None})
                state = self._restore(workdir / "checkpoints")
                writer = MetricWriter(workdir, int(state.step), False)
                writer.close()
        except InputError as error:
            return None if follows == REFUSED and _says_what_to_do(str(error)) else f"refused: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        step, lines = int(state.step), told.getvalue().splitlines()
        if not jax.tree.all(jax.tree.map(np.array_equal, state, self.states[step])):
            return f"other arrays than those of step {step}"
        named = [line for line in lines if line.startswith(f"checkpoint {NEWEST} is damaged (")]
        right = {
            AN_OLDER: step == OLDER and len(named) == 1,
            UNHARMED: step == NEWEST and not named,
            EITHER: (step == NEWEST and not named) or (step == OLDER and len(named) == 1),
            MADE_AGAIN: step == NEWEST and before is None and len(lines) == 1,
            LEFT_OUT: step == NEWEST and (workdir / "metrics.jsonl").read_bytes().splitlines() == self._all_but_one(),
        }
        if follows in (UNHARMED, AN_OLDER, EITHER) and before is None:
            return "the scores before training are lost"
        return None if right.get(follows) else f"step {step}, {lines}"

    def _all_but_one(self) -> list[bytes]:
        return [line for number, line in enumerate(self.lines) if number != 3]


def _says_what_to_do(message: str) -> bool:
    return "\n" not in message and any(
        word in message for word in ("give another", "put a copy", "remove it", "cannot read")
    )


def prepared_again(data_dir: Path, sizes: bytes) -> str | None:
    """Prepares records beside a broken sizes.json; returns what is wrong, None where they can be read."""
    source = find_source(run_config.load(str(CONFIG)).dataset, data_dir)
    try:
        folder = records.prepare(source, "query", data_dir).folder
        (folder / "sizes.json").write_bytes(sizes)
        return None if len(records.prepare(source, "query", data_dir).read()) == 24 else "other records"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


COMMANDS = {
    "the newest checkpoint's arrays flipped": lambda w: flip(
        max((w / "checkpoints" / str(NEWEST) / "default").rglob("*"), key=lambda path: path.stat().st_size)
    ),
    "the newest checkpoint emptied": lambda w: [
        shutil.rmtree(w / "checkpoints" / str(NEWEST)),
        (w / "checkpoints" / str(NEWEST)).mkdir(),
    ],
    "an empty 99 beside": lambda w: (w / "checkpoints" / "99").mkdir(),
    "the older checkpoint's metrics cut": lambda w: cut(w / "checkpoints" / str(OLDER) / "metrics" / "metrics"),
    "before.json cut": lambda w: cut(w / "before.json"),
    "a last line cut": lambda w: (w / "metrics.jsonl").write_bytes((w / "metrics.jsonl").read_bytes()[:-20]),
    "config.json a number": lambda w: (w / "config.json").write_text("5"),
    "all checkpoints cut": lambda w: [cut(file) for file in w.glob("checkpoints/*/metrics/metrics")],
}
_REFUSED_COMMANDS = ("config.json a number", "all checkpoints cut")
# What a resumption at the end does not write again: these records are gone with their line.
_LOSES_RECORDS = ("a last line cut",)


def train_command(workdir: Path, data_dir: Path) -> subprocess.CompletedProcess:
    """Runs `reid-jax train` with the tiny config."""
    line = [sys.executable, "-m", "reid_jax.main", "train", f"--config={CONFIG}"]
    line += [f"--config.data_dir={data_dir}", f"--workdir={workdir}"]
    return subprocess.run(
        line, cwd=ROOT, text=True, capture_output=True, check=False, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )


def by_command(workdir: Path, run: Path, data_dir: Path, name: str) -> str | None:
    """Resumes by the real command; returns what is wrong, None where the results have the bytes of `run`'s."""
    done = train_command(workdir, data_dir)
    if "Traceback" in done.stdout + done.stderr:
        return done.stderr.strip().splitlines()[-1]
    if name in _REFUSED_COMMANDS:
        last = done.stderr.strip().splitlines()[-1]
        return None if done.returncode == 2 and _says_what_to_do(last) else f"{done.returncode}: {last}"
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1]}"
    kept = [one for one in RESULTS if not (name in _LOSES_RECORDS and one == "metrics.jsonl")]
    other = [one for one in kept if (workdir / one).read_bytes() != (run / one).read_bytes()]
    return f"other bytes in {', '.join(other)}" if other else None


def main() -> int:
    """Prints the table; returns 1 where a case is not right."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, help="a finished run of tests/tiny_config.py; default: one is made")
    parser.add_argument("--data_dir", type=Path, help="its data; default: made, too")
    parser.add_argument("--commands", action="store_true", help="also resume a few by the real command")
    args = parser.parse_args()
    counts, wrong = collections.Counter(), []

    def count(kind, name, problem):
        counts[kind, problem is None] += 1
        if problem is not None:
            wrong.append(f"{kind}, {name}: {problem[:300]}")

    with tempfile.TemporaryDirectory() as scratch:
        run, data_dir = args.run or Path(scratch) / "run", args.data_dir or Path(scratch) / "data"
        if args.run is None:
            made = train_command(run, data_dir)
            if made.returncode:
                print(made.stderr)
                return 1
        config = run_config.from_dict(read_json(run / "config.json"))
        resume = Resumption(config, run)
        workdir = Path(scratch) / "damaged"
        for case in cases(run):
            if case.follows == PREPARED:
                count(case.kind, case.name, prepared_again(data_dir, case.damage(workdir)))
                continue
            copy_of(run, workdir)
            case.damage(workdir)
            count(case.kind, case.name, resume(workdir, case.follows))
            shutil.rmtree(workdir)
        for name, damage in COMMANDS.items() if args.commands else ():
            copy_of(run, workdir)
            damage(workdir)
            count("by the whole command", name, by_command(workdir, run, data_dir, name))
            shutil.rmtree(workdir)
    kinds = dict.fromkeys(kind for kind, _ in counts)
    rows = [[kind, str(counts[kind, True] + counts[kind, False]), str(counts[kind, True])] for kind in kinds]
    total = [str(sum(counts.values())), str(sum(number for (_, right), number in counts.items() if right))]
    print(format_table([["what is damaged", "cases", "right"], *rows, ["all", *total]]))
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
