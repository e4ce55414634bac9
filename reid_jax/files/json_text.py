"""JSON from elsewhere, read with the limits that whoever goes through the values relies on."""

import json
from typing import Any

from reid_jax.errors import InputError, shown

_DEEPEST = 32  # levels; nothing of ours has more than 5, and code that goes down level by level must not fail


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
      InputError: it is no JSON (NaN and Infinity are none), nested deeper than 32 levels, has a whole number of
        thousands of digits, or names a key twice, of which readers take one or the other. The message goes on from
        the text's name, which the caller puts before it.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError as error:
        raise InputError(f"is nested deeper than {_DEEPEST} levels") from error
    except (ValueError, MemoryError) as error:  # of Unicode and of numbers as well
        raise InputError(f"is no JSON ({shown(error)})") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [item for node in level if isinstance(node, list | dict) for item in _items(node)]
        if not level:
            return value
    raise InputError(f"is nested deeper than {_DEEPEST} levels")


def _items(value: list | dict) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which JSON lacks")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} stands twice")
    return value
