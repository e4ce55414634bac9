"""`reid-jax gallery list`."""

import argparse

from reid_jax.errors import shown
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import require_writable
from reid_jax.gallery import Summary, open_gallery
from reid_jax.gallery.times import time_text
from reid_jax.ranges import whole
from reid_jax.text_table import format_table
from reid_jax.verbs.gallery.options import HEADS, add_filter, add_gallery, as_json, cells, filter_of

HELP = "show what a gallery holds"
EXAMPLES = """\
  reid-jax gallery list
  reid-jax gallery list --person anna --limit=1000 --json=anna.json
  reid-jax gallery list --camera door garden --since=2026-11-29 --after=150"""

_MOST_NAMES = 12  # cameras or tags that are counted by name
_MOST = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_gallery(parser)
    parser.add_argument("--limit", type=whole(0, _MOST), default=20, help="entries to list (default %(default)s)")
    parser.add_argument("--after", type=whole(0, 2**62), default=0, help="begin behind this id")
    parser.add_argument("--json", help="also write this to a file")
    add_filter(parser, "are listed")


def run(args: argparse.Namespace) -> None:
    """Prints a summary and a table."""
    if args.json:
        require_writable("--json", args.json)
    where = filter_of(args)
    with open_gallery(args.gallery) as gallery:
        summary = gallery.summary()
        print(_text(summary))
        page = gallery.page(where, after=args.after, limit=args.limit)
        if page.entries:
            print("\n" + format_table([HEADS, *map(cells, page.entries)], left=len(HEADS), rules=[0]))
        if page.after is not None and page.entries:
            print(f"and more: --after={page.after}, or --limit")
        if args.json:
            whole_summary = vars(summary) | {"thresholds": [vars(each) for each in summary.thresholds]}
            write_json(args.json, whole_summary | {"listed": as_json(page.entries), "after": page.after})


def _text(summary: Summary) -> str:
    lines = [
        f"{summary.address}: {summary.entries:,} entries, {summary.people:,} people by name, {summary.with_crop:,} "
        f"crops; {summary.bytes / 1e6:,.1f} MB",
        f"vectors of {summary.dimensions} numbers by weights {summary.digest[:12]}…",
    ]
    if summary.first is not None:
        lines.append(f"times from {time_text(summary.first)} to {time_text(summary.last)}")
    for what, counted in (("cameras", summary.cameras), ("tags", summary.tags)):
        names = [f"{shown(name) or '(unknown)'} {count:,}" for name, count in counted.items()]
        if names and list(counted) != [""]:
            more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            lines.append(f"{what}: {', '.join(names[:_MOST_NAMES])}{more}")
    thresholds = [f"{each.threshold:.3f} (false-positive rate {each.rate:g})" for each in summary.thresholds]
    lines.append(f"thresholds: {', '.join(thresholds) or 'none known; see gallery add --calibration'}")
    return "\n".join(lines)
