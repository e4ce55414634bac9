"""The options that several actions of `reid-jax gallery` take, and how they show entries."""

import argparse
from collections.abc import Iterable
from typing import Any

from reid_jax.errors import InputError, shown
from reid_jax.gallery.entries import Entry, Filter, Match
from reid_jax.gallery.times import seconds_of, time_text
from reid_jax.ranges import whole

_MOST_ID = 2**62


def add_gallery(parser: argparse.ArgumentParser) -> None:
    """Adds --gallery."""
    parser.add_argument(
        "--gallery", default="gallery", help="a folder, or postgresql://USER@HOST/DATABASE (default %(default)s)"
    )


def add_filter(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds the options by which entries are chosen; `what` completes their help: 'are searched'."""
    group = parser.add_argument_group(f"which entries {what}", "all options that are given have to hold")
    group.add_argument("--id", nargs="+", action="extend", type=whole(1, _MOST_ID), default=[], help="these")
    group.add_argument("--person", nargs="+", action="extend", default=[], help="of one of these people")
    group.add_argument("--camera", nargs="+", action="extend", default=[], help="of one of these cameras")
    group.add_argument("--tag", nargs="+", action="extend", default=[], help="with every one of these tags")
    group.add_argument("--since", help="from this time on: 2026-11-29T14:30 (UTC), or with an offset +01:00")
    group.add_argument("--until", help="before this time")


def filter_of(args: argparse.Namespace) -> Filter:
    """The filter that the options name; raises InputError for what is no time."""
    bounds = {}
    for name in ("since", "until"):
        text = getattr(args, name)
        try:
            bounds[name] = None if text is None else seconds_of(text)
        except InputError as error:
            raise InputError(f"--{name}: {error}") from error
    return Filter(
        ids=tuple(args.id), people=tuple(args.person), cameras=tuple(args.camera), tags=tuple(args.tag), **bounds
    )


HEADS = ("id", "name", "person", "camera", "time", "tags")


def cells(entry: Entry) -> tuple[object, ...]:
    """An entry as a row below `HEADS`."""
    return (
        entry.id,
        shown(entry.source, 60),
        *map(shown, (entry.person, entry.camera, time_text(entry.time))),
        shown(" ".join(entry.tags)),
    )


def as_json(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Entries, or matches with their distances, as JSON has them."""
    return [
        {
            **({"distance": entry.distance} if isinstance(entry, Match) else {}),
            "id": entry.id,
            "name": entry.source,
            "person": entry.person,
            "camera": entry.camera,
            "time": entry.time,
            "tags": list(entry.tags),
            "digest": entry.digest,
        }
        for entry in entries
    ]
