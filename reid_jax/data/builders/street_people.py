"""People in the street as a data set: drawn where they are missing, then read in Market-1501's layout."""

import collections
import os

from reid_jax.data import street
from reid_jax.data.builders import market1501
from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.source import Counts
from reid_jax.data.builders.split_folders import FOLDER_OF

NAME = street.NAME


class StreetPeople(market1501.Market1501):
    """A drawn set; what it should hold follows from its numbers."""

    title = "people in the street"
    description = "Drawn people in drawn streets: no real person is in the pictures."
    homepage = ""

    def __init__(self, tree: FileTree, name: str):
        """`tree` is the folder in Market-1501's layout, `name` has the numbers, see `street.parse`."""
        super().__init__(tree, name)
        folder_of = {folder: split for split, folder in FOLDER_OF.items()}
        self._facts = collections.defaultdict(list)
        for path in street.file_names(street.parse(name)):
            folder, _, file = path.partition("/")
            self._facts[folder_of[folder]].append(self.parse_name(file))

    def expected(self, split: str) -> Counts | None:
        """The counts of a whole drawing."""
        facts = self._facts[split]
        people = {identity for identity, _ in facts} - {market1501.DISTRACTOR}
        return Counts(len(facts), len(people), len({camera for _, camera in facts}))


def find(name: str, data_dir: str | os.PathLike) -> StreetPeople:
    """Draws the set that `name` describes below `data_dir`, unless it is there; see `street.render`."""
    folder = street.render(street.parse(name), data_dir)
    return StreetPeople(FileTree(folder / street.LAYOUT_FOLDER), name)
