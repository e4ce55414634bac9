"""JSON files: written complete or not at all, read with a line for what is wrong."""

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_jax.errors import InputError, shown
from reid_jax.files.json_text import parse_json
from reid_jax.files.writing import replace_file


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON, complete or not at all; raises InputError where it cannot be written.

    Numbers that are not finite become null: JSON has no word for them.
    """
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file; None where there is none. Raises InputError where it is no JSON or cannot be read."""
    path = Path(path)
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    except InputError as error:
        raise InputError(f"{shown(path)} {error}") from error


def is_number(value: Any) -> bool:
    """Whether a value read from JSON is a number that a float can hold."""
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def finite(value: Any) -> Any:
    """Returns `value` with null in place of numbers that are not finite, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
