"""Where weights with a name lie: in the package, or in the user's own folder, whose come first."""

import importlib.resources
import os
import re
from pathlib import Path

from reid_jax.errors import InputError, did_you_mean, shown
from reid_jax.zoo.entries import ENTRIES, PREFIX

FOLDER_VARIABLE = "REID_JAX_ZOO"  # of the environment: the user's own folder

_ENDING = ".safetensors"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def folder() -> Path:
    """The user's own folder, which need not be there yet: $REID_JAX_ZOO, or reid_jax/zoo where data of users lie."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(os.path.expanduser(named))
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(os.path.expanduser(data)) / "reid_jax" / "zoo"


def is_name(weights: str | os.PathLike) -> bool:
    """Whether this names weights of the zoo, not a path."""
    return os.fspath(weights).startswith(PREFIX)


def names() -> list[str]:
    """All names: of the package's entries, then of what else the user has added."""
    added = sorted(path.stem for path in folder().glob(f"*{_ENDING}") if _NAME.fullmatch(path.stem))
    return [*ENTRIES, *(name for name in added if name not in ENTRIES)]


def file_of(weights: str) -> Path:
    """The file of `zoo:NAME`.

    Raises InputError where there is none of this name, with the commands that make it if they are known.
    """
    name = weights.removeprefix(PREFIX)
    path = _found(name)
    if path is not None:
        return path
    if name not in ENTRIES:
        raise InputError(f"{shown(weights)} is not in the zoo, see reid-jax zoo list{did_you_mean(name, names())}")
    raise InputError(f"{weights} is not here and is not downloaded; make it: {'; '.join(ENTRIES[name].commands)}")


def is_here(name: str) -> bool:
    """Whether there is a file of this name."""
    return _found(name) is not None


def is_own(name: str) -> bool:
    """Whether the file of this name is in the user's own folder, where it goes before the package's."""
    return is_here(name) and place_of(name).is_file()


def card_of(name: str) -> str:
    """What is known of the weights of this name: their card in Markdown, '' without one."""
    card = _package() / f"{name}.md"
    return card.read_text(encoding="utf-8") if card.is_file() else ""


def place_of(name: str) -> Path:
    """Where weights of this name go in the user's own folder; raises InputError for what is no name."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{shown(name)!r} is no name for weights; take small letters, digits, '-', '_' and '.', up to 64, a letter "
            "or a digit first"
        )
    return folder() / f"{name}{_ENDING}"


def _found(name: str) -> Path | None:
    if not _NAME.fullmatch(name):
        return None
    paths = (folder() / f"{name}{_ENDING}", _package() / f"{name}{_ENDING}")
    return next((path for path in paths if path.is_file()), None)


def _package() -> Path:
    return Path(str(importlib.resources.files("reid_jax.zoo")))
