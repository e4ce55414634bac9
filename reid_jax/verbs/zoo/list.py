"""`reid-jax zoo list`: the weights that have a name."""

import argparse

from reid_jax import zoo
from reid_jax.text_table import format_table
from reid_jax.verbs.zoo.described import entry_of

HELP = "list the weights that have a name, and whether they are here"
EXAMPLES = "  reid-jax zoo list"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> None:
    """Prints a table."""
    rows = [("weights", "", "what", "licence")]
    for name in zoo.names():
        entry = entry_of(name)
        about, licence = (entry.about, entry.licence) if entry else ("added by you", "")
        rows.append((f"{zoo.PREFIX}{name}", "here" if zoo.is_here(name) else "to be made", about, licence))
    print(format_table(rows, left=4, rules=[0]))
