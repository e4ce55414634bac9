"""`reid-jax train`."""

import argparse

from reid_jax import config
from reid_jax.processes import joining

EXAMPLES = """\
  reid-jax train --config=configs/quickstart.py --workdir=runs/quickstart
  reid-jax train --config=configs/robust_reid.py:size=1x --workdir=runs/1x --config.model.dtype=bfloat16
The same command resumes an interrupted run. Any key of the config can be set: --config.KEY=VALUE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; overrides `--config.KEY=VALUE` pass beside them."""
    parser.add_argument("--config", metavar="FILE.py[:ARG]", required=True, help="the run's config file")
    parser.add_argument(
        "--workdir",
        required=True,
        help="the run's folder: this run's, which is resumed, or a new one, empty but for logs (*.log, *.out, *.err)",
    )


def run(args: argparse.Namespace) -> None:
    """Trains; see `reid_jax.train.train_and_evaluate`."""
    settings = config.load(args.config, args.overrides)
    joining.initialize()
    from reid_jax.train import train_and_evaluate

    train_and_evaluate(settings, args.workdir)
