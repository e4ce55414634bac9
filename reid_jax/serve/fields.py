"""Texts and numbers from clients, checked: what comes out of here can be kept and searched for."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from reid_jax.errors import shown
from reid_jax.gallery import Filter
from reid_jax.serve.refusal import Refusal

LONGEST_TEXT = 200  # letters of a camera's or a person's name, or a tag, of what is added
LONGEST_NAME = 500  # of the same in a filter: as long as a gallery keeps them, which others than the page fill too
LONGEST_SOURCE = 1000
MOST_VALUES = 100  # of one field
LATEST = 253_402_300_799  # seconds since 1970, the end of the year 9999
MOST_IDS = 1000
HIGHEST_ID = 2**63 - 1

# A letter that a text may not have: what controls a terminal, ends a line, turns the direction of what follows, or is
# half of a character. As it stands in the OpenAPI document, too.
CONTROL = r"[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"

# What no gallery keeps, and no filter therefore names.
NEVER_KEPT = r"[\u0000\ud800-\udfff]"

_CONTROL = re.compile(CONTROL)
_NEVER_KEPT = re.compile(NEVER_KEPT)

Texts = Callable[[str], Sequence[str]]  # the values of a field of a form or a query, by its name


def text(name: str, value: object) -> str:
    """A text to be kept, stripped, of bounded length, without control characters; raises Refusal (422)."""
    value = _string(name, value).strip()
    if len(value) > LONGEST_TEXT or _CONTROL.search(value):
        raise Refusal(422, f"{name!r} is {shown(value)!r}; at most {LONGEST_TEXT} letters are taken, none that control")
    return value


def kept_name(name: str, value: object) -> str:
    """A name that a gallery may hold, as it stands there, blanks and all; raises Refusal (422)."""
    value = _string(name, value)
    if len(value) > LONGEST_NAME or _NEVER_KEPT.search(value):
        raise Refusal(422, f"{name!r} is {shown(value)!r}; a name is Unicode text of at most {LONGEST_NAME} letters")
    return value


def number(name: str, value: object, low: float, high: float) -> float:
    """A number from `low` to `high`, or a text of one; raises Refusal (422)."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not low <= found <= high:
        raise Refusal(422, f"{name!r} is {shown(value)!r}; give a number from {low:,g} to {high:,.15g}")
    return found


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`, or a text of one; raises Refusal (422)."""
    plain = value.isascii() and value.isdigit() and len(value) < 20 if isinstance(value, str) else type(value) is int
    if not plain or not low <= int(value) <= high:
        raise Refusal(422, f"{name!r} is {shown(value)!r}; give a whole number from {low:,} to {high:,}")
    return int(value)


def source(name: str) -> str:
    """What a client calls an image, as a name that leads nowhere: no '..', no drive, no control character.

    It is kept and shown, and never opened; who exports a gallery may make a file's name of it.
    """
    name = _CONTROL.sub("_", name.replace("\\", "/").replace(":", "_"))
    parts = [part.strip() for part in name.split("/")]
    return "/".join(part for part in parts if part.strip("."))[-LONGEST_SOURCE:].strip("/") or "image"


def sources_of(names: Sequence[str]) -> dict[str, int]:
    """Of each of `names` its `source`, those that became alike told apart by a number: {source: row in names}."""
    found: dict[str, int] = {}
    last: dict[str, int] = {}  # number that was given to a source: those below are taken
    for row, name in enumerate(names):
        wanted = key = source(name)
        again = last.get(wanted, 1)
        while key in found:
            again += 1
            key = f"{wanted} ({again})"
        last[wanted] = again
        found[key] = row
    return found


def filter_of(texts: Texts) -> Filter:
    """The filter of a form's or a query's fields camera, person, tag, since and until; raises Refusal (422)."""
    return Filter(
        cameras=_many("camera", texts("camera")),
        people=_many("person", texts("person")),
        tags=_many("tag", texts("tag")),
        since=_time("since", texts("since")),
        until=_time("until", texts("until")),
    )


def filter_of_object(value: Mapping[str, object]) -> Filter:
    """The filter of a JSON object with ids, cameras, people, tags, since and until; raises Refusal (422).

    One that names nothing is refused: it would mean everything.
    """
    known = ("ids", "cameras", "people", "tags", "since", "until")
    for name in value:
        if name not in known:
            raise Refusal(422, f"there is no field {shown(name)!r} here; give some of {', '.join(known)}")

    def numbers(name: str, found: list) -> list:
        if wrong := [each for each in found if isinstance(each, bool) or not isinstance(each, int | float)]:
            raise Refusal(422, f"{name!r} is {shown(repr(wrong[0]))}; give a number")
        return found

    def listed(name: str, most: int) -> list:
        found = value.get(name, [])
        if not isinstance(found, list) or len(found) > most or (name in value and not found):
            raise Refusal(422, f"{name!r} is {shown(found)!r}; give a list of 1 to {most:,}, or leave it out")
        return found

    found = Filter(
        ids=tuple(whole("ids", each, 1, HIGHEST_ID) for each in numbers("ids", listed("ids", MOST_IDS))),
        cameras=_many("cameras", listed("cameras", MOST_VALUES)),
        people=_many("people", listed("people", MOST_VALUES)),
        tags=_many("tags", listed("tags", MOST_VALUES)),
        since=_time("since", numbers("since", [value["since"]] if "since" in value else [])),
        until=_time("until", numbers("until", [value["until"]] if "until" in value else [])),
    )
    if not found:
        raise Refusal(422, f"nothing is named; give some of {', '.join(known)}")
    return found


def time(name: str, values: Sequence[object]) -> float | None:
    """A time in seconds since 1970, None where there is none; raises Refusal (422)."""
    return _time(name, [value for value in values if value != ""])


def tags(values: Sequence[object]) -> tuple[str, ...]:
    """The tags, without empty ones; raises Refusal (422)."""
    return tuple(tag for tag in _many("tag", values, text) if tag)


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise Refusal(422, f"{name!r} is {shown(value)}; give a text")
    return value


def _many(name: str, values: Sequence[object], each: Callable[[str, object], str] = kept_name) -> tuple[str, ...]:
    if len(values) > MOST_VALUES:
        raise Refusal(422, f"{name!r} stands {len(values)} times; at most {MOST_VALUES} are taken")
    return tuple(each(name, value) for value in values)


def _time(name: str, values: Sequence[object]) -> float | None:
    if len(values) > 1:
        raise Refusal(422, f"{name!r} stands {len(values)} times; send it once")
    return number(name, values[0], 0, LATEST) if values else None
