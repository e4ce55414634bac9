"""Descriptors of many images in parts, by one process or several: what is done is not done again.

The images are taken in the order of their names, and cut into parts of 2,048 to 8,192. Of n processes each describes
every n-th part, writes it complete or not at all, and leaves those that are there as they are. So a run that was
stopped goes on where it was, with as many processes as one likes.

A part is called after what it is made of: each image's name, size and time (in a zip its CRC), the weights, and whether
images are mirrored. Of several processes, which may each have a copy of the images, process 0's times count. Where a
part ends depends on names near by alone, so that one image more, less or mended changes one part, seldom two, and all
others stay; where none stays, as of a set of one part, it is another set. `list.json` has the parts in their order;
`join` reads them into one set of descriptors.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_jax.data.builders.files import Entry
from reid_jax.descriptors import Descriptors, read_descriptors, write_descriptors
from reid_jax.errors import InputError, first_few, shown
from reid_jax.extractor import BrokenImages, Extractor
from reid_jax.files.json_files import read_json, write_json
from reid_jax.processes import joining
from reid_jax.progress import progress_bar

LEAST, MOST = 2048, 8192  # images to a part; the last may have fewer
_LIST = "list.json"
_VERSION = 2


def embed_parts(
    folder: Path,
    extractor: Extractor,
    images: Sequence[Entry],
    read: Callable[[str], bytes],
    place: str,
    process: int = 0,
    processes: int = 1,
) -> tuple[int, int]:
    """Describes this process's parts of the images; returns how many images it described, and how many were there.

    A part that cannot be read is described anew. Where the images have changed since, parts that are no longer of them
    are removed.

    Args:
      images: sorted by name, the same in every process.
      read, place: as for `Extractor.describe_files`.

    Raises:
      InputError: the folder has parts of other images or weights, or this process has other images than process 0.
      BrokenImages: some images cannot be read or decoded; all parts without such are written by then.
    """
    cut = list(_cut(images))
    names = _agreed([_name_of(part, extractor) for part in cut], images, place)
    parts = dict(zip(names, cut, strict=True))
    _claim(folder, names, len(images), extractor)
    mine = list(parts.items())[process::processes]
    total = sum(len(part) for _, part in mine)
    described = there = 0
    broken: list[str] = []
    with progress_bar(total, "embedding") as bar:
        for name, part in mine:
            path, some = folder / name, [image.name for image in part]
            if _is_whole(path, some):
                there += len(some)
            else:
                try:
                    embedding = extractor.describe_files(some, read, place)
                except BrokenImages as error:
                    broken += error.reasons
                else:
                    one = Descriptors.unlabelled(some, embedding, extractor.streams, extractor.digest)
                    write_descriptors(path, one)
                    described += len(some)
            bar.update(len(some))
    if broken:
        raise BrokenImages(broken, total, f" in {place}", "; the parts without them are kept")
    return described, there


def join(folder: Path) -> Descriptors:
    """Reads all parts of a folder into one set, in the order of names.

    Raises InputError where the folder has no parts, one is missing or damaged, or is not of the listed weights.
    """
    listed = _listed(folder)
    if listed is None:
        raise InputError(f"{shown(folder)} has no {_LIST}; name a folder that reid-jax embed --parts has filled")
    missing = [name for name in listed["parts"] if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing):,} of {len(listed['parts']):,} parts are missing in {shown(folder)}: "
            f"{first_few(missing)}; start the same reid-jax embed again"
        )
    parts = [read_descriptors(folder / name) for name in listed["parts"]]
    name = np.concatenate([part.name for part in parts])
    kinds = {(part.streams, part.weights) for part in parts}
    sound = len(name) == listed["images"] and np.all(name[:-1] < name[1:])
    if not sound or len(kinds) != 1 or parts[0].weights != listed["weights"]:
        raise InputError(
            f"the parts in {shown(folder)} are not of the images and weights that {_LIST} says; embed again"
        )
    embedding = np.concatenate([part.embedding for part in parts])
    return Descriptors.unlabelled(name, embedding, parts[0].streams, parts[0].weights)


def _cut(images: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cuts the images behind names whose check sum is a multiple of `LEAST`, no two cuts nearer than that."""
    start = 0
    for end, image in enumerate(images, 1):
        count = end - start
        if count == MOST or count >= LEAST and zlib.crc32(image.name.encode()) % LEAST == 0:
            yield images[start:end]
            start = end
    if start < len(images):
        yield images[start:]


def _name_of(part: Sequence[Entry], extractor: Extractor) -> str:
    """The file of a part, by all that its descriptors depend on."""
    digest = hashlib.sha256(f"{extractor.digest} {extractor.flip}".encode())
    for image in part:
        digest.update(f"\0{image.name}\0{image.size}\0{image.stamp}".encode())
    return f"part-{digest.hexdigest()[:32]}.npz"


def _agreed(names: list[str], images: Sequence[Entry], place: str) -> list[str]:
    """Process 0's names of the parts, whatever times the files have here."""
    mine = hashlib.sha256("\0".join(f"{image.name}\0{image.size}" for image in images).encode()).hexdigest()
    theirs, *names = joining.told_by_process_zero(" ".join([mine, *names])).split(" ")
    if theirs != mine:
        raise InputError(f"{place} has other images here than in process 0, by their names or sizes; give all the same")
    return names


def _is_whole(path: Path, names: Sequence[str]) -> bool:
    """Whether the part is there and can be read."""
    if not path.exists():
        return False
    try:
        return read_descriptors(path).name.tolist() == list(names)
    except InputError:
        return False


def _claim(folder: Path, parts: Sequence[str], images: int, extractor: Extractor) -> None:
    """Writes the list, unless the one that is there is of other weights, or of other images and has parts."""
    mine = {
        "version": _VERSION,
        "images": images,
        "parts": list(parts),
        "weights": extractor.digest,
        "flip": extractor.flip,
    }
    listed = _listed(folder) or mine
    differing = [key for key in ("weights", "flip") if listed[key] != mine[key]]
    old = set(listed["parts"])
    if not differing and old.isdisjoint(parts) and any((folder / name).exists() for name in old):
        differing = ["images"]
    if differing:
        what = {"weights": "weights", "flip": "--flip", "images": "images, or all have new times"}[differing[0]]
        raise InputError(f"{shown(folder)} has parts of other {what}; name another folder, or remove this one")
    write_json(folder / _LIST, mine)
    for name in old.difference(parts):
        (folder / name).unlink(missing_ok=True)


def _listed(folder: Path) -> dict[str, Any] | None:
    listed = read_json(folder / _LIST)
    if listed is None:
        return None
    if not isinstance(listed, dict) or listed.get("version") != _VERSION:
        raise InputError(f"{shown(folder / _LIST)} is none of reid_jax's of version {_VERSION}; name another folder")
    parts = listed.get("parts")
    named = isinstance(parts, list) and parts and all(re.fullmatch(r"part-[0-9a-f]{32}\.npz", str(p)) for p in parts)
    counted = type(listed.get("images")) is int and listed["images"] > 0
    weighed = re.fullmatch("[0-9a-f]{64}", str(listed.get("weights"))) and type(listed.get("flip")) is bool
    if not (named and counted and weighed):
        raise InputError(f"{shown(folder / _LIST)} was changed; name another folder")
    return listed
