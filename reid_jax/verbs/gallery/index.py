"""`reid-jax gallery index`."""

import argparse

from reid_jax.gallery import open_gallery
from reid_jax.verbs.gallery.options import add_gallery

HELP = "build an approximate index (HNSW) on PostgreSQL, for `gallery search --approximate`"
EXAMPLES = "  reid-jax gallery index --gallery=postgresql://reid@server/people"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    add_gallery(parser)


def run(args: argparse.Namespace) -> None:
    """Builds it; one that is there stays, and grows with what is added."""
    with open_gallery(args.gallery) as gallery:
        gallery.build_index()
        print(f"{gallery.address}: indexed")
