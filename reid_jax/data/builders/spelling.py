"""Spellings of one path that look equal: Windows' separators, and the forms that Unicode has of the same letters."""

import functools
import unicodedata
from collections.abc import Callable

from reid_jax.data.builders.files import FileTree


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): 'ë' is one letter there, not an e and two dots."""
    return unicodedata.normalize("NFC", text)


def speller(tree: FileTree, form: Callable[[str], str]) -> Callable[[str], str | None]:
    r"""A function from a path to the only one in the tree whose parts have the same `form`; None where there is none.

    Windows' \ and / are the same, and so are 'a', './a' and '/a' but for the root of an absolute path.
    """

    @functools.cache
    def by_form(folder: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for child in tree.children(folder):
            found.setdefault(form(child), []).append(child)
        return found

    def respell(name: str) -> str | None:
        parts = name.replace("\\", "/").split("/")
        path = "/" if name.startswith("/") else ""
        for part in parts:
            if part in ("", "."):
                continue
            alike = [part] if part == ".." else by_form(path).get(form(part), [])
            if part in alike:
                alike = [part]
            if len(alike) != 1:
                return None
            path += f"{alike[0]}/"
        return path.rstrip("/") or None

    return respell
