"""Descriptors of many images in parts, by one process or several: what is done is not done again.

The images are taken in the order of their names, 4,096 to a part. Of n processes each describes every n-th part, writes
it complete or not at all, and leaves those that are there as they are. So a run that was stopped goes on where it was,
with as many processes as one likes. `list.json` in the folder says of which images and weights the parts are; others
are refused. `join` reads them all into one set of descriptors.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_jax.descriptors import Descriptors, read_descriptors, write_descriptors
from reid_jax.errors import InputError, first_few, shown
from reid_jax.extractor import Extractor
from reid_jax.files.json_files import read_json, write_json
from reid_jax.progress import progress_bar

IMAGES = 4096  # to a part
_LIST = "list.json"
_VERSION = 1


def part_path(folder: Path, part: int) -> Path:
    """The file of a part, counted from 0."""
    return folder / f"part-{part:06d}.npz"


def embed_parts(
    folder: Path,
    extractor: Extractor,
    names: Sequence[str],
    read: Callable[[str], bytes],
    place: str,
    process: int = 0,
    processes: int = 1,
) -> tuple[int, int]:
    """Describes this process's parts of the images; returns how many images it described, and how many were there.

    Args:
      names, read, place: as for `Extractor.describe_files`; the same names in every process.

    Raises InputError where the folder has parts of other images or weights, and as `describe_files` does.
    """
    _claim(folder, names, extractor)
    mine = range(process, -(-len(names) // IMAGES), processes)
    described = there = 0
    with progress_bar(sum(len(_names(names, part)) for part in mine), "embedding") as bar:
        for part in mine:
            path, some = part_path(folder, part), _names(names, part)
            if path.exists():
                there += len(some)
            else:
                embedding = extractor.describe_files(some, read, place)
                one = Descriptors.unlabelled(some, embedding, extractor.streams, extractor.digest)
                write_descriptors(path, one)
                described += len(some)
            bar.update(len(some))
    return described, there


def join(folder: Path) -> Descriptors:
    """Reads all parts of a folder into one set, in the order of names.

    Raises InputError where the folder has no parts, one is missing or damaged, or is not of the listed images.
    """
    listed = _listed(folder)
    if listed is None:
        raise InputError(f"{shown(folder)} has no {_LIST}; name a folder that reid-jax embed --parts has filled")
    missing = [path.name for part in range(listed["parts"]) if not (path := part_path(folder, part)).is_file()]
    if missing:
        raise InputError(
            f"{len(missing):,} of {listed['parts']:,} parts are missing in {shown(folder)}: {first_few(missing)}; "
            "start the same reid-jax embed again"
        )
    parts = [read_descriptors(part_path(folder, part)) for part in range(listed["parts"])]
    name = np.concatenate([part.name for part in parts])
    kinds = {(part.streams, part.weights) for part in parts}
    if len(kinds) != 1 or parts[0].weights != listed["weights"] or _digest(name.tolist()) != listed["names"]:
        raise InputError(
            f"the parts in {shown(folder)} are not of the images and weights that {_LIST} says; embed again"
        )
    embedding = np.concatenate([part.embedding for part in parts])
    return Descriptors.unlabelled(name, embedding, parts[0].streams, parts[0].weights)


def _claim(folder: Path, names: Sequence[str], extractor: Extractor) -> None:
    """Writes the list, or compares it with the one that is there."""
    mine = {
        "version": _VERSION,
        "images": len(names),
        "parts": -(-len(names) // IMAGES),
        "names": _digest(names),
        "weights": extractor.digest,
        "flip": extractor.flip,
    }
    listed = _listed(folder)
    if listed is None:
        if folder.exists() and (not folder.is_dir() or any(folder.glob("part-*.npz"))):
            raise InputError(f"{shown(folder)} has parts and no {_LIST}, or is no folder; name another")
        write_json(folder / _LIST, mine)
        return
    differing = [key for key in mine if listed.get(key) != mine[key]]
    if differing:
        what = {"weights": "weights", "flip": "--flip"}.get(differing[-1], "images")
        raise InputError(f"{shown(folder)} has parts of other {what}; name another folder, or remove this one")


def _listed(folder: Path) -> dict[str, Any] | None:
    listed = read_json(folder / _LIST)
    if listed is None:
        return None
    if not isinstance(listed, dict) or listed.get("version") != _VERSION:
        raise InputError(f"{shown(folder / _LIST)} is none of reid_jax's of version {_VERSION}; name another folder")
    whole = all(type(listed.get(key)) is int and listed[key] > 0 for key in ("images", "parts"))
    texts = all(re.fullmatch("[0-9a-f]{64}", str(listed.get(key))) for key in ("names", "weights"))
    if not whole or not texts:
        raise InputError(f"{shown(folder / _LIST)} was changed; name another folder")
    return listed


def _names(names: Sequence[str], part: int) -> Sequence[str]:
    return names[part * IMAGES : (part + 1) * IMAGES]


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()
