"""The layout that Market-1501 began: a folder a split, identity and camera in the file's name."""

import contextlib
import re
from collections.abc import Callable, Mapping

from reid_jax.data.builders.files import FileTree, is_image
from reid_jax.data.builders.source import GALLERY, QUERY, TRAIN, ImageFile, Source
from reid_jax.errors import InputError, first_few

FOLDER_OF = {TRAIN: "bounding_box_train", QUERY: "query", GALLERY: "bounding_box_test"}


class SplitFolders(Source):
    """A source of `FOLDER_OF`'s folders.

    Attributes:
      title: the set's name in messages.
      pattern: a file name, not its path, with the groups identity and camera; -1 as identity is junk.
      example: a name that matches.
      folder_of: the folder of each split.
    """

    title: str
    pattern: re.Pattern[str]
    example: str

    def __init__(self, tree: FileTree, name: str, folder_of: Mapping[str, str] = FOLDER_OF):
        """`tree` is the set's own folder."""
        self.name, self.location = name, tree.location()
        self.tree, self.folder_of = tree, folder_of
        self.splits = tuple(folder_of)
        self.left_out = {}

    @classmethod
    def parse_name(cls, name: str) -> tuple[int, int] | None:
        """(identity, camera) of a file name; None where it does not match."""
        match = cls.pattern.fullmatch(name)
        return None if match is None else (int(match["identity"]), int(match["camera"]))

    def list_files(self, split: str) -> list[ImageFile]:
        """See `Source.files`."""
        folder = self.folder_of[split]
        where = self.tree.location(folder)
        if not self.tree.has_folder(folder):
            raise InputError(
                f"{self.title}: folder {where} is missing; unpack the whole set again, "
                f"it holds {', '.join(self.folder_of.values())}"
            )
        files, misfits = [], []
        images, left_out = self.tree.images(folder, deep=False)
        self.left_out |= left_out
        for entry in images:
            name = entry.name.rpartition("/")[2]
            labels = self.parse_name(name)
            if labels is None:
                misfits.append(name)
            else:
                files.append(ImageFile.of(entry, *labels))
        if misfits:
            raise InputError(
                f"{len(misfits)} image name(s) in {where} do not look like {self.title}'s {self.example!r}: "
                f"{first_few(misfits)}; rename or remove them, or name the data set that they are from"
            )
        if not files:
            raise InputError(
                f"folder {where} holds no image; unpack the whole set again, or give the data_dir that holds it"
            )
        return files

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """See `Source.reader`."""
        return self.tree.reader()


def is_root(tree: FileTree) -> bool:
    """Whether a folder has this layout: 'query' alone is too common a name to go by."""
    return tree.has_folder(FOLDER_OF[TRAIN]) or tree.has_folder(FOLDER_OF[GALLERY])


def is_own_root(kind: type[SplitFolders]) -> Callable[[FileTree], bool]:
    """Whether a folder has this layout and the first image in each of its splits is named as `kind`'s are."""

    def holds(tree: FileTree) -> bool:
        firsts = [next(filter(is_image, sorted(tree.children(folder))), None) for folder in FOLDER_OF.values()]
        return is_root(tree) and all(name is None or kind.parse_name(name) is not None for name in firsts)

    return holds
