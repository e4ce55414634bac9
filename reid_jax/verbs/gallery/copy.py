"""`reid-jax gallery copy`."""

import argparse

from reid_jax.gallery import open_gallery
from reid_jax.gallery.adding import copy_entries
from reid_jax.progress import progress_bar
from reid_jax.verbs.gallery.options import add_filter, add_gallery, filter_of

HELP = "add the entries of one gallery to another, with crops and thresholds: from a folder to a server, or back"
EXAMPLES = """\
  reid-jax gallery copy --gallery=people --to=postgresql://reid@server/people
  reid-jax gallery copy --gallery=postgresql://reid@server/people --to=of_the_door --camera door"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_gallery(parser)
    parser.add_argument("--to", required=True, help="where they go, made where it is missing; as --gallery")
    add_filter(parser, "are copied")


def run(args: argparse.Namespace) -> None:
    """Copies; what is there already, entries and thresholds, stays as it is."""
    where = filter_of(args)
    with open_gallery(args.gallery) as gallery, open_gallery(args.to, gallery.kind, create=True) as other:
        with progress_bar(gallery.count(where), "copy", "entries") as bar:
            added = copy_entries(gallery, other, where, lambda added: bar.update(added.done - bar.n))
        print(f"{added.new:,} added, {added.known:,} known already; {other.count():,} in {other.address}")
