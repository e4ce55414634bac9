"""The search for a data set: under its usual names, under names like them, and in zips of any name."""

import os
import pathlib
import re
from collections.abc import Callable, Sequence

from reid_jax.data.builders.files import FileTree, is_folder, is_hidden
from reid_jax.errors import InputError, first_few
from reid_jax.progress import tell

_DEEPEST = 3  # folders below data_dir, or above the set inside a zip
_MOST_FOLDERS = 1000  # of a data_dir that are looked into
_MOST_ZIPS = 16  # of other names that are opened
_COPY = re.compile(r"(\s*\(\d+\)|[\s_-]+copy(\s*\d+)?)+$", re.IGNORECASE)  # what browsers and systems add to a name


class NotThere(InputError):
    """A data set is in none of the places that were looked at."""


def find_tree(
    data_dir: str | os.PathLike,
    *,
    title: str,
    is_root: Callable[[FileTree], bool],
    folders: Sequence[str],
    archives: Sequence[str],
    advice: str,
    is_own: Callable[[FileTree], bool] | None = None,
) -> FileTree:
    """Finds a data set in `data_dir`, and tells where, unless that is a usual place.

    The first of these counts: `data_dir` itself; the usual folders; the usual zips; a folder, then a zip, whose name is
    like a usual one ('MARKET1501', 'Market-1501-v15.09.15 (1).zip'), or that is the only folder, or any zip, inside a
    folder of such a name; a zip of any name right in `data_dir`. The search goes three folders deep, looks into 1,000
    folders at most, and opens 16 zips of other names.

    Args:
      data_dir: the folder that holds the data sets, the data set's own folder, or its zip.
      title: the set's name in messages.
      is_root: whether a folder is the set's own.
      folders, archives: the usual names below `data_dir`, tried in this order.
      advice: what to do where it is not found, the end of the message.
      is_own: whether a folder inside a zip of any name is the set's own, where that asks for more than `is_root`.

    Raises:
      NotThere: nothing found; the message names every place looked at, and the zips that cannot be read.
      InputError: a zip at a usual place, or `data_dir`, is broken or not the set's; or there are, beside the usual
        places, several that hold different files.
    """
    base = pathlib.Path(os.path.expanduser(data_dir))
    if os.path.isfile(base):
        if base.suffix.lower() != ".zip":
            raise InputError(f"data_dir {str(base)!r} is a file but not a zip; give a folder or the official zip")
        return _zip_of_the_set(base, title, is_root)
    usual = [FileTree(base / folder) for folder in (".", *folders)]
    found = _apart([tree for tree in usual if os.path.isdir(tree.path) and is_root(tree)])
    if found:
        if len(found) > 1:
            others = first_few([tree.location() for tree in found[1:]])
            tell(f"{title} is taken from {found[0].location()}, and there is another one in {others}")
        return found[0]
    for archive in archives:
        if os.path.isfile(base / archive):
            return _zip_of_the_set(base / archive, title, is_root)
    words = {_plain(pathlib.PurePosixPath(name).name.removesuffix(".zip")) for name in (*folders, *archives)}
    near, zips = _look_around(base, words, is_root)
    alike = [path for path in zips if {_plain(path.stem), _plain(path.parent.name)} & words]
    others = [path for path in zips if path.parent == base and path not in alike][:_MOST_ZIPS]
    broken: list[str] = []
    candidates = near or _in_zips(alike, is_root, broken) or _in_zips(others, is_own or is_root, broken)
    if candidates:
        tree = _the_one(candidates, title)
        tell(f"{title} is taken from {tree.location()}")
        return tree
    looked = ", ".join(str(base / place) for place in (".", *folders, *archives))
    opened = f", and into {first_few([path.name for path in (*alike, *others)])}" if alike or others else ""
    unread = f"; {first_few(broken, '; ')}" if broken else ""
    raise NotThere(f"{title} not found; looked at {looked}, and at names like these{opened}{unread}; {advice}")


def _plain(name: str) -> str:
    """A name without what differs from copy to copy: letter case, punctuation, the number of a copy."""
    return "".join(filter(str.isalnum, _COPY.sub("", name).casefold()))


def _look_around(
    base: pathlib.Path, words: set[str], is_root: Callable[[FileTree], bool]
) -> tuple[list[FileTree], list[pathlib.Path]]:
    """The roots in folders whose names are `words`, made plain, and the zips on the way; the shallowest first."""
    found, zips = [], []
    pending = [(base, False)]  # folders to look into, and whether their own name is like the set's
    seen = 0
    while pending and seen < _MOST_FOLDERS:
        folder, named = pending.pop(0)
        seen += 1
        inner = _folders_in(folder, zips)
        for path in inner:
            like = _plain(path.name) in words or (named and len(inner) == 1)
            tree = FileTree(path)
            if like and is_root(tree):
                found.append(tree)
            elif len(path.relative_to(base).parts) < _DEEPEST:
                pending.append((path, like))
    return found, zips


def _folders_in(folder: pathlib.Path, zips: list[pathlib.Path]) -> list[pathlib.Path]:
    """The folders in a folder, none where it cannot be read; its zips are added to `zips`."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError:
        return []
    zips += [folder / entry.name for entry in found if entry.name.lower().endswith(".zip")]
    return [folder / entry.name for entry in found if is_folder(entry)]


def _in_zips(paths: Sequence[pathlib.Path], is_root: Callable[[FileTree], bool], broken: list[str]) -> list[FileTree]:
    """The root in each zip that has one; why a zip cannot be read is added to `broken`."""
    found = []
    for path in paths:
        try:
            found.append(_in_zip(path, is_root))
        except InputError as error:
            broken.append(str(error))
    return [tree for tree in found if tree is not None]


def _in_zip(path: pathlib.Path, is_root: Callable[[FileTree], bool]) -> FileTree | None:
    whole = FileTree(path, "")
    for folder in whole.folders(_DEEPEST):
        tree = whole.below(folder) if folder else whole
        if is_root(tree):
            return tree
    return None


def _zip_of_the_set(path: pathlib.Path, title: str, is_root: Callable[[FileTree], bool]) -> FileTree:
    tree = _in_zip(path, is_root)
    if tree is None:
        raise InputError(f"{path}: it is not {title}; give the official zip or folder")
    return tree


def _apart(trees: Sequence[FileTree]) -> list[FileTree]:
    """The trees without those that are one of the others by another name: a link, or another letter case."""
    by_place = {}
    for tree in trees:
        status = os.stat(tree.path)
        by_place.setdefault((status.st_dev, status.st_ino), tree)
    return list(by_place.values())


def _the_one(candidates: Sequence[FileTree], title: str) -> FileTree:
    """The first of several places, where all of them hold the same files."""
    first, *others = _apart(candidates)
    if others:
        files = _sizes(first)
        if any(_sizes(tree) != files for tree in others):
            places = first_few([tree.location() for tree in (first, *others)])
            raise InputError(
                f"{title} is there {1 + len(others)} times with different files: {places}; give the one that is meant "
                "as data_dir, or its usual name"
            )
    return first


def _sizes(tree: FileTree) -> list[tuple[str, int]]:
    return [(entry.name, entry.size) for entry in tree.walk()]
