"""Names that count frames: their order, and what is missing among them.

Every run of digits is a number, so that a9 comes before a10, whatever stands behind it. Frames are counted by the
number in which their names differ first, if each has another one there: frame_9_1080p and frame_10_1080p, or
frame_9_jpg.rf.c05e and frame_10_jpg.rf.1a2f. Otherwise (a_1, a_5, b_2; the times 10-15-58, 10-15-59, 10-16-00; a, b, c)
there is an order, but no count.
"""

import itertools
import os
import re
from collections.abc import Iterable, Sequence

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
    which may lie as they like.

    Args:
      where: what has these frames, for messages, and how to mend them, `remedy`.
    """
    ordered = sorted(names, key=by_number)
    for one, other in itertools.pairwise(ordered):
        if by_number(_stem(one))[0] == by_number(_stem(other))[0]:
            raise InputError(f"{shown(where)} has frame {shown(one)} and {shown(other)}; leave one of these")
    numbers = _counts([_stem(name) for name in ordered])
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    least = min(steps, default=0)
    gaps = [place for place, step in enumerate(steps) if step > least]
    if 0 < len(gaps) < len(steps) / 2:
        between = [f"between {ordered[gap]} and {ordered[gap + 1]}" for gap in gaps]
        raise InputError(f"{shown(where)} lacks frames in {len(gaps):,} place(s): {first_few(between)}; {remedy}")
    return ordered


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if name.lower().endswith(IMAGE_ENDINGS) else name


def _counts(stems: Sequence[str]) -> list[int]:
    """The number of each name that counts it; none where no number does."""
    split = [re.split(r"([0-9]+)", stem) for stem in stems]
    shortest = min(map(len, split), default=0)
    first = next((place for place in range(shortest) if len({_value(parts[place]) for parts in split}) > 1), None)
    if first is None or first % 2 == 0:
        return []
    digits = [parts[first] for parts in split]
    if len({_value(each) for each in digits}) < len(digits) or max(map(len, digits)) > _MOST_DIGITS:
        return []
    return [int(each) for each in digits]


def _value(part: str) -> str:
    """Text as it is, digits without zeros in front: one for each number."""
    return (part.lstrip("0") or "0") if part[:1].isdecimal() else part
