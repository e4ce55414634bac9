"""The fields of a network: what all networks share, what a config may set, and the check against their ranges."""

import dataclasses
from typing import Any

import flax.linen as nn

from reid_jax.ranges import Numbers, Range, Switch, Text, choice, real, require, whole

IDENTITIES = whole(0, 10**7)
DTYPE = choice(("float32", "bfloat16"))  # as a config names it; from Python it may be any of JAX's
# Where a class states no range: any value of the type that its default has.
_ANY_WHOLE, _ANY_REAL = whole(-(10**9), 10**9), real(-1e30, 1e30)
_ANY_SIZE = Numbers(whole(8, 1024), 2)

_FLAXS = ("parent", "name")


def fields_of(network_class: type[nn.Module]) -> list[dataclasses.Field]:
    """Returns the fields that a network's class adds to Flax's own."""
    return [field for field in dataclasses.fields(network_class) if field.name not in _FLAXS]


def require_fields(network: nn.Module) -> None:
    """Checks a network's fields against `IDENTITIES` and the `RANGES` of its class; for its `__post_init__`.

    Lists become tuples first: networks are compared and hashed by their fields. Raises InputError, naming the field,
    its value and what it takes.
    """
    for field in fields_of(type(network)):
        if isinstance(getattr(network, field.name), list):
            object.__setattr__(network, field.name, tuple(getattr(network, field.name)))
    require("the number of identities", network.identities, IDENTITIES)
    for name, allowed in network.RANGES.items():
        value = getattr(network, name)
        if name != "dtype" or isinstance(value, str):
            require(f"model.{name}", value, allowed)


def config_fields(network_class: type[nn.Module]) -> dict[str, tuple[Any, Range]]:
    """Returns the keys under `config.model` that a network's class has: field -> (default in a config, range).

    A default of None takes the preset's value. Fields that are no switch, number, text or tuple of numbers, by their
    range or by their default, are no keys of a config.
    """
    ranges, defaults = getattr(network_class, "RANGES", {}), getattr(network_class, "CONFIG_DEFAULTS", {})
    keys = {}
    for field in fields_of(network_class):
        allowed = DTYPE if field.name == "dtype" else ranges.get(field.name, _range_like(field.default))
        if field.name != "identities" and allowed is not None:
            keys[field.name] = (defaults.get(field.name, "float32" if field.name == "dtype" else None), allowed)
    return keys


def image_size_range(network_class: type[nn.Module]) -> Range:
    """Returns what (height, width) may be, in pixels: the class's `IMAGE_SIZE`, or each any from 8 to 1,024."""
    return getattr(network_class, "IMAGE_SIZE", _ANY_SIZE)


def _range_like(default: Any) -> Range | None:
    if isinstance(default, bool):
        return Switch()
    if isinstance(default, int):
        return _ANY_WHOLE
    if isinstance(default, float):
        return _ANY_REAL
    if isinstance(default, str):
        return Text()
    if isinstance(default, tuple) and default:
        each = {type(value) for value in default}
        if each <= {int, float}:
            return Numbers(_ANY_WHOLE if each == {int} else _ANY_REAL)
    return None
