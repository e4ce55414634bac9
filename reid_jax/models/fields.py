"""The check of a network's fields against their ranges, before anything is built."""

from collections.abc import Mapping
from typing import Any

from reid_jax.ranges import Numbers, Range, require, whole

IDENTITIES = whole(0, 10**7)


def check_fields(network: Any, ranges: Mapping[str, Range]) -> None:
    """Checks each field of `network` against `ranges`, and its number of identities; lists become tuples.

    To be called in `__post_init__`, before Flax's own. Raises InputError, naming the field, its value and its range.
    """
    for field, allowed in ranges.items():
        if isinstance(allowed, Numbers) and isinstance(getattr(network, field), list):
            object.__setattr__(network, field, tuple(getattr(network, field)))
    require("the number of identities", network.identities, IDENTITIES)
    for field, allowed in ranges.items():
        if field != "dtype" or isinstance(network.dtype, str):  # from Python it is any of JAX's
            require(f"model.{field}", getattr(network, field), allowed)
