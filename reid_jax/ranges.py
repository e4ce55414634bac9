"""What a value may be, stated once: a check, the words of a message, and the reading of a command's option.

`str(range)` completes "it takes ...": 'a whole number from 1 to 4,096'. A range of one number is also a `type` for
`argparse`, which then refuses what lies outside in one line:

  parser.add_argument("--rounds", type=whole(1, 1000))
"""

import argparse
import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any

from reid_jax.errors import InputError, shown


@dataclasses.dataclass(frozen=True)
class Number:
    """Finite numbers from `least` to `most`, without the ends where `above` and `below` say so.

    Whole ones, of `multiple`, where `kind` is int; a bool is no number.
    """

    kind: type
    least: float
    most: float
    above: bool = False
    below: bool = False
    multiple: int = 1

    def holds(self, value: Any) -> bool:
        """Whether the value lies within."""
        if isinstance(value, bool) or not isinstance(value, numbers.Integral if self.kind is int else numbers.Real):
            return False
        inside = (self.least < value if self.above else self.least <= value) and (
            value < self.most if self.below else value <= self.most
        )
        return inside and (self.multiple == 1 or value % self.multiple == 0)

    def __call__(self, text: str) -> int | float:
        """Reads an option's text; what is no such number is an `argparse.ArgumentTypeError`."""
        try:
            value = self.kind(text)
        except (ValueError, OverflowError):
            value = None
        if value is None or not self.holds(value):
            raise argparse.ArgumentTypeError(f"it is {shown(text)!r}; it takes {self}")
        return value

    def __str__(self) -> str:
        return f"a {self.noun} {self.bounds}"

    @property
    def noun(self) -> str:
        """'number', 'whole number' or 'multiple of 32'."""
        if self.multiple > 1:
            return f"multiple of {self.multiple}"
        return "whole number" if self.kind is int else "number"

    @property
    def bounds(self) -> str:
        """'from 1 to 4,096', 'above 0, below 1'."""
        least, most = (f"{end:,}" if self.kind is int else f"{end:g}" for end in (self.least, self.most))
        if self.above or self.below:
            return f"{'above' if self.above else 'from'} {least}, {'below' if self.below else 'at most'} {most}"
        return f"from {least} to {most}"


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Tuples of numbers of one range, `length` of them, or any number where it is None."""

    each: Number
    length: int | None = None
    kind = tuple

    def holds(self, value: Any) -> bool:
        """Whether the value is such a tuple."""
        return isinstance(value, tuple) and self.length in (None, len(value)) and all(map(self.each.holds, value))

    def __str__(self) -> str:
        count = "" if self.length is None else f"{self.length} "
        first, *rest = self.each.noun.split(" of ")  # 'whole number', or 'multiple' and '32'
        return f"{count}{' of '.join([f'{first}s', *rest])}, each {self.each.bounds}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several words."""

    words: tuple[str, ...]
    kind = str

    def holds(self, value: Any) -> bool:
        """Whether the value is one of the words."""
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclasses.dataclass(frozen=True)
class Text:
    """Any text without a NUL, which no file name has; empty unless `filled`."""

    filled: bool = False
    kind = str

    def holds(self, value: Any) -> bool:
        """Whether the value is such a text."""
        return isinstance(value, str) and "\0" not in value and bool(value or not self.filled)

    def __str__(self) -> str:
        return f"a text without a NUL{', not empty' if self.filled else ''}"


@dataclasses.dataclass(frozen=True)
class Switch:
    """True or False."""

    kind = bool

    def holds(self, value: Any) -> bool:
        """Whether the value is a bool."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "True or False"


Range = Number | Numbers | Choice | Text | Switch


def whole(least: int, most: int, *, multiple: int = 1) -> Number:
    """Returns the range of the whole numbers from `least` to `most`."""
    return Number(int, least, most, multiple=multiple)


def real(least: float, most: float, *, above: bool = False, below: bool = False) -> Number:
    """Returns the range of the numbers from `least` to `most`, without the ends where `above` and `below` say so."""
    return Number(float, least, most, above, below)


def choice(words: Sequence[str]) -> Choice:
    """Returns the range of these words."""
    return Choice(tuple(words))


def require(name: str, value: Any, allowed: Range) -> None:
    """Raises InputError, naming `name`, the value and the range, where the range does not hold the value."""
    if allowed.holds(value):
        return
    try:
        told = shown(repr(value))
    except ValueError:  # Python prints no number of more than 4,300 digits
        told = "a number of thousands of digits"
    if isinstance(value, float) and not math.isfinite(value):
        told += ", which is not finite"
    raise InputError(f"{name} is {told}; it takes {allowed}")
