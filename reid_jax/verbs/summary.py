"""`reid-jax summary`."""

import argparse

from reid_jax import config
from reid_jax.models import summary
from reid_jax.models.fields import IDENTITIES
from reid_jax.models.registry import network_of

EXAMPLES = """\
  reid-jax summary --config=configs/robust_reid.py:size=2x
  reid-jax summary --config=configs/hacnn.py --identities=751
  reid-jax summary --config=configs/robust_reid.py --config.model.regions=False"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; overrides `--config.KEY=VALUE` pass beside them."""
    parser.add_argument("--config", metavar="FILE.py[:ARG]", required=True, help="the config of the network")
    parser.add_argument("--identities", type=IDENTITIES, default=751, help="classes of the classifiers (default 751)")


def run(args: argparse.Namespace) -> None:
    """Prints the table of components."""
    settings = config.load(args.config, args.overrides)
    network = network_of(settings, args.identities)
    height, width = settings.image_size
    costs = summary.component_costs(network, settings.image_size)
    print(f"{settings.model.name}, one image of {height}x{width}")
    print(summary.format_costs(costs))
