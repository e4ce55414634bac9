"""Synthetic people as a data set: drawn where they are missing, then read in Market-1501's layout."""

import collections
import os

from reid_jax.data import synthetic
from reid_jax.data.builders import market1501
from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.source import Counts
from reid_jax.data.builders.split_folders import FOLDER_OF

NAME = synthetic.NAME


class SyntheticPeople(market1501.Market1501):
    """A drawn set; what it should hold follows from its numbers."""

    title = "synthetic people"
    description = "Synthetic people: no real person is in the pictures."
    homepage = ""
    world = synthetic

    def __init__(self, tree: FileTree, name: str):
        """`tree` is the folder in Market-1501's layout, `name` has the numbers, see the world's `parse`."""
        super().__init__(tree, name)
        folder_of = {folder: split for split, folder in FOLDER_OF.items()}
        self._facts = collections.defaultdict(list)
        for path in self.world.file_names(self.world.parse(name)):
            folder, _, file = path.partition("/")
            self._facts[folder_of[folder]].append(self.parse_name(file))

    def expected(self, split: str) -> Counts | None:
        """The counts of a whole drawing."""
        facts = self._facts[split]
        people = {identity for identity, _ in facts} - {market1501.DISTRACTOR}
        return Counts(len(facts), len(people), len({camera for _, camera in facts}))


def find(name: str, data_dir: str | os.PathLike) -> SyntheticPeople:
    """Draws the set that `name` describes below `data_dir`, unless it is there; see `synthetic.render`."""
    folder = synthetic.render(synthetic.parse(name), data_dir)
    return SyntheticPeople(FileTree(folder / synthetic.LAYOUT_FOLDER), name)
