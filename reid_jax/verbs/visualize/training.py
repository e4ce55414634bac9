"""`reid-jax visualize training`: the training curves of one or several runs."""

import argparse
from pathlib import Path

from reid_jax import visualize
from reid_jax.errors import InputError
from reid_jax.training.metric_writer import read_records
from reid_jax.verbs.visualize.options import add_out, labels

HELP = "draw the training curves of one or several runs"
EXAMPLES = """\
  reid-jax visualize training --workdir=runs/quickstart --out=training.png
  reid-jax visualize training --workdir runs/1x runs/2x --out=training.png"""
ENDINGS = (".png",)
PACKAGES = ("matplotlib",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_out(parser, ENDINGS)
    parser.add_argument("--workdir", required=True, nargs="+", action="extend", metavar="RUN", help="workdirs of runs")


def run(args: argparse.Namespace) -> None:
    """Reads the records of the runs and draws them."""
    runs = {}
    for label, path in zip(labels(args.workdir), args.workdir, strict=True):
        file = Path(path) / "metrics.jsonl"
        if not file.is_file():
            raise InputError(f"{path} has no metrics.jsonl; name the workdir of a run that has begun")
        runs[label] = read_records(file)
    visualize.training_curves(args.out, runs)
    print(f"{args.out}: {', '.join(runs)}")
