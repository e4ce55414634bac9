"""`reid-jax data`: check a data set, prepare its records, draw synthetic people."""

import argparse
import dataclasses
import json
import os
import pathlib
import time

from reid_jax.data import check as check_module
from reid_jax.data import split, synthetic
from reid_jax.errors import InputError

EXAMPLES = """\
  reid-jax data check --dataset=market1501 --data_dir=data
  reid-jax data prepare --dataset=market1501 --data_dir=data
  reid-jax data synthesize --out=data --train_identities=150 --test_identities=100
  reid-jax data check --dataset=synthetic:train_identities=150,test_identities=100 --data_dir=data"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions check, prepare and synthesize with their flags."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{check,prepare,synthesize}")
    check = actions.add_parser("check", help="compare what is there with what should be; exit code 1 if unsound")
    prepare = actions.add_parser("prepare", help="write the records that training and evaluation read")
    for action in (check, prepare):
        action.add_argument("--dataset", required=True, help=f"one of: {', '.join(split.BUILDERS)}")
        action.add_argument("--data_dir", required=True, help="folder that holds the data set")
    check.add_argument("--json", help="also write the report to this file")
    synthesize = actions.add_parser("synthesize", help="draw synthetic people in Market-1501's layout")
    synthesize.add_argument("--out", required=True, help="folder to write the set below")
    for field in dataclasses.fields(synthetic.SyntheticPeople):
        words = field.name.replace("_", " ")
        synthesize.add_argument(f"--{field.name}", type=int, default=field.default, help=f"{words} (%(default)s)")


def _write_json(report: check_module.Report, path: str) -> None:
    target = pathlib.Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(dataclasses.asdict(report) | {"sound": report.sound}, indent=2) + "\n")
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write --json={path} ({error.strerror}); give a file in a writable folder") from error


def _check(args: argparse.Namespace) -> None:
    report = check_module.check(args.dataset, args.data_dir)
    print(report.table())
    if args.json:
        _write_json(report, args.json)
    if not report.sound:
        raise SystemExit(1)


def _prepare(args: argparse.Namespace) -> None:
    started = time.perf_counter()
    builder = split.builder(args.dataset, args.data_dir)
    seconds = time.perf_counter() - started
    files = [file for file in pathlib.Path(builder.data_path).rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    counts = ", ".join(f"{name} {builder.info.splits[name].num_examples:,}" for name in split.SPLITS)
    print(f"{args.dataset}: {counts}; {size:.1f} MiB in {builder.data_path}; {seconds:.1f} s")


def _synthesize(args: argparse.Namespace) -> None:
    fields = [field.name for field in dataclasses.fields(synthetic.SyntheticPeople)]
    spec = synthetic.SyntheticPeople(**{field: getattr(args, field) for field in fields})
    started = time.perf_counter()
    folder = synthetic.render(spec, args.out)
    seconds = time.perf_counter() - started
    print(f"{len(synthetic.file_names(spec)):,} images in {folder}; {seconds:.1f} s")
    numbers = ",".join(f"{field}={getattr(spec, field)}" for field in fields)
    print(f"use: --dataset=synthetic:{numbers} --data_dir={args.out}")


def run(args: argparse.Namespace) -> None:
    """Runs the chosen action; `check` of an unsound data set exits with 1.

    Raises:
      InputError: bad arguments, or what the action finds wrong.
    """
    {"check": _check, "prepare": _prepare, "synthesize": _synthesize}[args.action](args)
