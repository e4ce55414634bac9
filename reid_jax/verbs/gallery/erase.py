"""`reid-jax gallery erase`."""

import argparse

from reid_jax.errors import InputError
from reid_jax.gallery import open_gallery
from reid_jax.progress import announce
from reid_jax.verbs.gallery.options import add_filter, add_gallery, filter_of

HELP = "erase entries: facts, vectors and crops, so that no byte of them is left in the gallery's files"
EXAMPLES = """\
  reid-jax gallery erase --person anna
  reid-jax gallery erase --person anna --yes
  reid-jax gallery erase --until=2026-11-01 --yes
Copies elsewhere are not reached: backups, snapshots of the disk, blocks that a disk has set aside; of PostgreSQL its
log (pg_wal), archives of that and replicas, until they are overwritten or expire. See reid_jax/gallery/README.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_gallery(parser)
    parser.add_argument("--yes", action="store_true", help="do it; without, it is only said what would be erased")
    add_filter(parser, "are erased")


def run(args: argparse.Namespace) -> None:
    """Erases, and prints how many; names that no entry has are an error, since nobody was erased.

    Not where it ends an erasing that was killed, whose names no entry has any more.
    """
    where = filter_of(args)
    if not where:
        raise InputError("nothing is named, and all would be erased; name --id, --person, --camera, --tag or a time")
    with open_gallery(args.gallery) as gallery:
        killed = gallery.has_unfinished_erasing()
        if args.yes:
            announce("erasing, and writing what is left anew")
        count = gallery.erase(where) if args.yes else gallery.count(where)
        if killed:
            print(f"an erasing that was killed {'has been ended' if args.yes else 'is ended by --yes'}")
        elif not count and (where.ids or where.people or where.cameras or where.tags):  # a range of times may be empty
            raise InputError(
                f"no entry of {gallery.address} is meant by these options: nothing was erased; see reid-jax gallery "
                "list"
            )
        if args.yes:
            print(f"{count:,} entries erased; {gallery.count():,} left in {gallery.address}")
        else:
            print(f"{count:,} of {gallery.count():,} entries would be erased; add --yes to do it")
