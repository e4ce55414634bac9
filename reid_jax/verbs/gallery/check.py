"""`reid-jax gallery check`."""

import argparse

from reid_jax.errors import InputError
from reid_jax.gallery import open_gallery
from reid_jax.verbs.gallery.options import add_gallery

HELP = "read everything and say what is damaged, a line each; exit code 2 where anything is"
EXAMPLES = "  reid-jax gallery check --gallery=people"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    add_gallery(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the damage."""
    with open_gallery(args.gallery) as gallery:
        lines = gallery.check()
        for line in lines:
            print(line)
        if lines:
            raise InputError(f"{gallery.address} is damaged: {len(lines)} kinds of damage, told above")
        print(f"{gallery.address}: {gallery.count():,} entries are sound")
