"""People in the street as a data set: drawn where they are missing, then read in Market-1501's layout."""

import os

from reid_jax.data import street
from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.synthetic_people import SyntheticPeople

NAME = street.NAME


class StreetPeople(SyntheticPeople):
    """A drawn set; what it should hold follows from its numbers."""

    title = "people in the street"
    description = "Drawn people in drawn streets: no real person is in the pictures."
    world = street


def find(name: str, data_dir: str | os.PathLike) -> StreetPeople:
    """Draws the set that `name` describes below `data_dir`, unless it is there; see `street.render`."""
    folder = street.render(street.parse(name), data_dir)
    return StreetPeople(FileTree(folder / street.LAYOUT_FOLDER), name)
