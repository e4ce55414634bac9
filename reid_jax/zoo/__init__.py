"""Weights by name, `zoo:NAME` wherever weights are named: those of the package, and those that a user has added.

Weights learnt from real people's images cannot come with the package, whose licence they would contradict: of these it
has the command that makes them. Nothing is ever downloaded.
"""

from reid_jax.zoo.entries import DEFAULT, ENTRIES, PREFIX, Entry
from reid_jax.zoo.shelf import card_of, file_of, is_here, is_name, is_own, names, place_of

__all__ = [
    "DEFAULT",
    "ENTRIES",
    "PREFIX",
    "Entry",
    "card_of",
    "file_of",
    "is_here",
    "is_name",
    "is_own",
    "names",
    "place_of",
]
