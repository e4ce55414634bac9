"""A folder of drawn pictures beside the spec that they were drawn from: whether it is that, and halves of it."""

import dataclasses
import json
import os
import pathlib
from typing import Any

from reid_jax.files import leftovers

_SPEC = "spec.json"


def write_spec(spec: Any, drawing: int, folder: pathlib.Path) -> None:
    """Writes a spec, a dataclass of plain values, and the version of the drawing."""
    (folder / _SPEC).write_text(json.dumps(_record(spec, drawing), indent=2) + "\n")


def is_of_spec(spec: Any, drawing: int, folder: pathlib.Path) -> bool:
    """Whether the folder says that it was drawn from this very spec by this version of the drawing."""
    try:
        return json.loads((folder / _SPEC).read_text()) == _record(spec, drawing)
    except (OSError, ValueError):
        return False


def prune_halves(folder: str | os.PathLike, name: str) -> list[tuple[pathlib.Path, str, int]]:
    """Removes the half-drawn 'NAME-*' of dead processes from `folder`: [(their folder, why, bytes)]."""
    swept = leftovers.sweep(pathlib.Path(os.path.expanduser(folder)), f"{name}-*")
    return [(half, "half-drawn by a process that has died", size) for half, size in swept]


def _record(spec: Any, drawing: int) -> dict[str, Any]:
    return dataclasses.asdict(spec) | {"drawing": drawing}
