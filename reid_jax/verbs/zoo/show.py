"""`reid-jax zoo show`: what is known of weights that have a name."""

import argparse

from reid_jax import zoo
from reid_jax.descriptors import digest_of
from reid_jax.verbs.zoo.described import entry_of
from reid_jax.weights import load_weights

HELP = "show what is known of weights: their card, where they are, or what makes them"
EXAMPLES = """\
  reid-jax zoo show street
  reid-jax zoo show market-1x"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the name."""
    parser.add_argument("name", metavar="NAME", help="one of `reid-jax zoo list`, with or without zoo:")


def run(args: argparse.Namespace) -> None:
    """Prints it."""
    name = args.name.removeprefix(zoo.PREFIX)
    entry = entry_of(name)
    if entry:
        print(f"{zoo.PREFIX}{name}: {entry.about}\nlicence: {entry.licence}\nmade by:")
        print("\n".join(f"  {command}" for command in entry.commands))
    elif name in zoo.ENTRIES:
        print(f"{zoo.PREFIX}{name}: added by you, in place of the package's")
    if not entry or zoo.is_here(name):  # a name that nobody knows is refused here
        weights = f"{zoo.PREFIX}{name}"
        print(f"file: {zoo.file_of(weights)}\ndigest: {digest_of(load_weights(weights).variables)}")
    card = zoo.card_of(name) if entry else ""
    if card:
        print(f"\n{card}", end="")
