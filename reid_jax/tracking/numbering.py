"""Names that count frames: their order, and what is missing among them.

Every run of digits is a number, so that a9 comes before a10, whatever stands behind it. Frames are counted by the
number in which their names differ first, if each has another one there: frame_9_1080p and frame_10_1080p, or
frame_9_jpg.rf.c05e and frame_10_jpg.rf.1a2f. Where the next number is another one in each name too, as behind a time
(1700000033_1, 1700000066_2), either may count. Otherwise (a_1, a_5, b_2; the times 10-15-58, 10-15-59, 10-16-00;
a, b, c) there is an order, but no count.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError, first_few, shown

_MOST_DIGITS = 1000  # of a number that may count


def by_number(name: str) -> tuple:
    """A key that sorts names by their text and the numbers in it: a9 before a10."""
    parts = re.split(r"([0-9]+)", name)  # text, digits, text, ...
    parts[1::2] = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return tuple(parts), name


def in_order(names: Iterable[str], where: object, remedy: str) -> list[str]:
    """Returns the names of frames in their order; raises InputError where a number is left out, or there twice.

    Frames behind it would be numbered wrongly. Numbers of which most are one step apart count frames; others are times,
    which may lie as they like. A copy, 7_copy beside 7, is the same number once more.

    Args:
      where: what has these frames, for messages, and how to mend them, `remedy`.
    """
    ordered = sorted(names, key=by_number)
    for one, other in itertools.pairwise(ordered):
        if _is_once_more(_stem(one), _stem(other)):
            raise InputError(f"{shown(where)} has frame {shown(one)} and {shown(other)}; leave one of these")
    gaps_of_each = [_gaps(numbers) for numbers in _counts([_stem(name) for name in ordered])]
    if gaps_of_each and all(gaps_of_each):
        gaps = gaps_of_each[-1]
        between = [f"between {ordered[gap]} and {ordered[gap + 1]}" for gap in gaps]
        raise InputError(f"{shown(where)} lacks frames in {len(gaps):,} place(s): {first_few(between)}; {remedy}")
    return ordered


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if name.lower().endswith(IMAGE_ENDINGS) else name


def _is_once_more(one: str, other: str) -> bool:
    """Whether two stems have the same numbers, and the same text up to the last of them."""
    ways = [[_value(part) for part in re.split(r"([0-9]+)", stem)] for stem in (one, other)]
    return ways[0] == ways[1] or (len(ways[0]) == len(ways[1]) > 1 and ways[0][:-1] == ways[1][:-1])


def _counts(stems: Sequence[str]) -> Iterator[list[int]]:
    """What may count: the numbers of all names at a place, for each such place."""
    split = [re.split(r"([0-9]+)", stem) for stem in stems]
    for place in range(min(map(len, split), default=0)):
        parts = [each[place] for each in split]
        different = len({_value(part) for part in parts})
        if different == 1:
            continue
        if place % 2 == 0 or different < len(parts) or max(map(len, parts)) > _MOST_DIGITS:
            return
        yield [int(part) for part in parts]


def _gaps(numbers: Sequence[int]) -> list[int]:
    """Behind which of the numbers, which rise, some are left out; none where they are times."""
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    gaps = [place for place, step in enumerate(steps) if step > min(steps)]
    return gaps if len(gaps) < len(steps) / 2 else []


def _value(part: str) -> str:
    """Text as it is, digits without zeros in front: one for each number."""
    return (part.lstrip("0") or "0") if part[:1].isdecimal() else part
