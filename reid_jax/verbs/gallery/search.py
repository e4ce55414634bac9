"""`reid-jax gallery search`."""

import argparse

from reid_jax.errors import shown
from reid_jax.extractor import Extractor
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import require_writable
from reid_jax.gallery import EVERYTHING, Gallery, Match, open_gallery
from reid_jax.gallery.gallery import MOST_RESULTS
from reid_jax.gallery.kind import Kind
from reid_jax.ranges import real, whole
from reid_jax.text_table import format_table
from reid_jax.verbs.gallery.options import HEADS, add_filter, add_gallery, as_json, cells, filter_of

HELP = "find the people most like the one in an image"
EXAMPLES = """\
  reid-jax gallery search anna.jpg --weights=zoo:street
  reid-jax gallery search anna_1.jpg anna_2.jpg --weights=runs/1x --camera door --since=2026-11-29 --rate=0.001
  reid-jax gallery search one.jpg two.jpg --each --weights=runs/1x --k=5 --by_person --json=found.json
A false-positive rate is of one comparison: among 10,000 entries of other people about 10 lie nearer than the threshold
of rate 0.001. Thresholds are those that `gallery add --calibration` was given, or the zoo's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="crops of one person, averaged; see --each")
    add_gallery(parser)
    parser.add_argument("--weights", required=True, help="the weights that the gallery was made with")
    parser.add_argument("--each", action="store_true", help="search each image by itself")
    parser.add_argument("--k", type=whole(1, MOST_RESULTS), default=20, help="matches at most (default %(default)s)")
    parser.add_argument("--by_person", action="store_true", help="show the nearest entry of each person only")
    by = parser.add_mutually_exclusive_group()
    by.add_argument("--rate", type=real(0, 1), help="show only what is nearer than the threshold of this rate")
    by.add_argument("--threshold", type=real(0, 2), help="show only what is nearer than this distance")
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")
    parser.add_argument("--approximate", action="store_true", help="on PostgreSQL: by the index of `gallery index`")
    parser.add_argument("--json", help="also write what was found to this file")
    add_filter(parser, "are searched")


def run(args: argparse.Namespace) -> None:
    """Prints a table of matches for each query, or that there is nobody."""
    if args.json:
        require_writable("--json", args.json)
    where = filter_of(args)
    with open_gallery(args.gallery) as gallery:  # before the weights, which take longer
        nearer = args.threshold if args.rate is None else gallery.threshold_at(args.rate)
        extractor = Extractor(args.weights, flip=args.flip)
        gallery.kind.require_same(Kind.of(extractor), gallery.address)
        embedding = extractor(args.images)
        queries = args.images if args.each else [" + ".join(args.images)]
        if not args.each:
            embedding = gallery.pooled(embedding)
        options = {"by_person": args.by_person, "approximate": args.approximate}
        found = gallery.search(embedding, args.k, where, nearer=nearer, **options)
        searched = gallery.count(where)
        for query, vector, matches in zip(queries, embedding, found, strict=True):
            print(f"{shown(query)}: {_verdict(gallery, matches, nearer, searched, bool(where != EVERYTHING))}")
            if matches:
                print(_table(gallery, matches))
            else:
                for nearest in gallery.search(vector[None], 1, where)[0]:
                    print(f"the nearest is {nearest.distance:.3f} away: id {nearest.id}, {shown(nearest.source)}")
    if nearer is not None and args.rate is not None:
        print(
            f"rate {args.rate:g}: about {args.rate * searched:,.1f} of {searched:,} entries of others would be nearer"
        )
    if args.json:
        answers = [{"query": q, "matches": as_json(matches)} for q, matches in zip(queries, found, strict=True)]
        write_json(args.json, {"searched": searched, "nearer": nearer, "answers": answers})


def _verdict(gallery: Gallery, matches: list[Match], nearer: float | None, searched: int, filtered: bool) -> str:
    among = f"{searched:,} entries{' that the filter leaves' if filtered else ''}"
    bound = "" if nearer is None else f" nearer than {nearer:.3f}"
    if not matches:
        return f"nobody{bound} in {among}"
    return f"the {len(matches):,} nearest of {among}{bound}"


def _table(gallery: Gallery, matches: list[Match]) -> str:
    """A row a match; beside its distance the lowest known rate whose threshold it is nearer than."""
    thresholds = gallery.thresholds
    rows = [("distance", "rate", *HEADS)]
    for match in matches:
        rate = next((f"{each.rate:g}" for each in thresholds if match.distance < each.threshold), "more")
        rows.append((f"{match.distance:.3f}", rate if thresholds else "?", *cells(match)))
    return format_table(rows, left=len(rows[0]), rules=[0])
