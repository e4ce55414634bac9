"""A folder's seal: the digest of each file in its subfolders, in a file of its own, so that damage is noticed."""

import functools
import hashlib
from pathlib import Path
from typing import Any

from reid_jax.errors import InputError, shown
from reid_jax.files.json_files import read_json, write_json

SEAL = "seal.json"

_blake2b = functools.partial(hashlib.blake2b, digest_size=16)


def seal(folder: Path, facts: dict[str, Any]) -> None:
    """Writes seal.json: `facts` (plain values), and the size and BLAKE2b digest of every file in a subfolder.

    Raises InputError where it cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    digests = {file.relative_to(folder).as_posix(): [file.stat().st_size, _digest(file)] for file in files}
    write_json(folder / SEAL, {**facts, "files": digests})


def damage(folder: Path, facts: dict[str, Any]) -> str | None:
    """Returns what is wrong with a sealed folder, None where nothing is: its `facts` and each file it was sealed with.

    Files that came later are not looked at.
    """
    try:
        if not folder.is_dir():
            return "it is no folder"
        if not any(folder.iterdir()):
            return "it is empty"
        sealed = read_json(folder / SEAL)
        if sealed is None:
            return f"it has no {SEAL}: it is incomplete, or of another version"
        for name, (size, digest) in sealed["files"].items():
            file = folder / name
            if not file.is_file():
                return f"{shown(name)} is missing"
            if file.stat().st_size != size:
                return f"{shown(name)} has {file.stat().st_size:,} bytes of {size:,}"
            if _digest(file) != digest:
                return f"{shown(name)} holds other bytes than were written"
        different = [name for name, value in facts.items() if sealed[name] != value]
        return f"it was written as {different[0]} {shown(sealed[different[0]])}" if different else None
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    except (AttributeError, KeyError, TypeError, ValueError):
        return f"{SEAL} is no seal"


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, _blake2b).hexdigest()
