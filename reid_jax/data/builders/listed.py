"""Files that a list of a data set names: each is looked up, and those that are missing are named together."""

from collections.abc import Sequence

from reid_jax.data.builders.files import Entry, FileTree
from reid_jax.data.builders.spelling import composed, speller
from reid_jax.errors import InputError, first_few
from reid_jax.progress import progress_bar

_FEW = 5  # missing files for which files of like names are looked up


def listed_entries(tree: FileTree, names: Sequence[str], listed_in: str, advice: str) -> list[Entry]:
    r"""The entry of each name, in their order.

    A file that is not there by its very name is found under one that looks equal: where the list has Windows' '\' for
    '/', or another Unicode form of the same letters. The entry has the name that the file has.

    Args:
      names: relative to the tree's root.
      listed_in: the list that names them, for messages.
      advice: what to do where files are missing, the end of the message.

    Raises:
      InputError: files are missing: how many of how many, the first few, and those like them that are there.
    """
    respell = speller(tree, composed)
    entries, missing = [], []
    with progress_bar(len(names), "looking up") as bar:
        for name in names:
            entry = tree.entry(name)
            if entry is None and (respelt := respell(name)) is not None:
                entry = tree.entry(respelt)
            if entry is None:
                missing.append(name)
            else:
                entries.append(entry)
            bar.update()
    if missing:
        resemble = speller(tree, lambda text: composed(text).casefold())
        hints = [f"{name} (there is {near})" if (near := resemble(name)) else name for name in missing[:_FEW]]
        raise InputError(
            f"{len(missing)} of {len(names)} images that {listed_in} names are not in {tree.location()}: "
            f"{first_few([*hints, *missing[_FEW:]])}; {advice}"
        )
    return entries


def read_lines(tree: FileTree, name: str, advice: str) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, stripped, each with its number from 1.

    Raises:
      InputError: the file is missing (`advice` says what to do), holds nothing, or is not UTF-8.
    """
    if not tree.has_file(name):
        raise InputError(f"{tree.location(name)} is missing; {advice}")
    try:
        text = tree.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{tree.location(name)} is not UTF-8 text ({error.reason}); {advice}") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise InputError(f"{tree.location(name)} is empty; {advice}")
    return lines
