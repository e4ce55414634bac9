"""`reid-jax gallery export`."""

import argparse

import numpy as np

from reid_jax.descriptors import UNKNOWN, Descriptors, write_descriptors
from reid_jax.errors import InputError
from reid_jax.files.csv_text import write_csv
from reid_jax.files.writing import require_writable
from reid_jax.gallery import Entry, open_gallery
from reid_jax.gallery.labels import COLUMNS, tags_text
from reid_jax.progress import progress_bar
from reid_jax.verbs.gallery.options import add_filter, add_gallery, filter_of

HELP = "write the vectors of entries as a .npz file, and what is known of them as .csv"
EXAMPLES = """\
  reid-jax gallery export --out=people.npz --facts=people.csv
  reid-jax gallery export --camera door --out=door.npz
  reid-jax gallery add --gallery=other --embeddings=people.npz --facts=people.csv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_gallery(parser)
    parser.add_argument("--out", required=True, help="the .npz file to write, as reid-jax embed does")
    parser.add_argument("--facts", help="the .csv file to write: name, person, camera, time, tags, digest")
    add_filter(parser, "are written")


def run(args: argparse.Namespace) -> None:
    """Writes both files."""
    require_writable("--out", args.out, ".npz")
    if args.facts:
        require_writable("--facts", args.facts, ".csv")
    where = filter_of(args)
    entries: list[Entry] = []
    parts = []
    with open_gallery(args.gallery) as gallery:
        with progress_bar(gallery.count(where), "export", "entries") as bar:
            for some, vectors in gallery.blocks(where):
                entries += some
                parts.append(vectors)
                bar.update(len(some))
        kind, address = gallery.kind, gallery.address
    if not entries:
        raise InputError(f"the filter leaves no entry of {address}; see reid-jax gallery list")
    names = np.array([entry.source for entry in entries])
    identity, camera = (_numbers([getattr(entry, field) for entry in entries]) for field in ("person", "camera"))
    write_descriptors(args.out, Descriptors(names, np.concatenate(parts), kind.streams, kind.digest, identity, camera))
    if args.facts:
        write_csv(args.facts, [COLUMNS, *map(_row, entries)])
    print(f"{args.out}: {len(entries):,} descriptors of {kind.dimensions} numbers")


def _numbers(texts: list[str]) -> np.ndarray:
    """Names as the numbers that they are; unknown where they are none."""
    return np.array([int(text) if text.isdecimal() and len(text) < 10 else UNKNOWN for text in texts], np.int32)


def _row(entry: Entry) -> tuple[str, ...]:
    time = "" if entry.time is None else repr(entry.time)
    return entry.source, entry.person, entry.camera, time, tags_text(entry.tags), entry.digest
