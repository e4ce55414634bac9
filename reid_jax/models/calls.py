"""What the modules of a network read and return."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn


class Seen(NamedTuple):
    """What a module at `path` ('a/b'; '' for the network) reads, its 'input', or returns, its 'output': any tree."""

    path: str
    side: str
    value: Any


@contextlib.contextmanager
def recorded_calls() -> Iterator[list[Seen]]:
    """Records the calls of all modules that are applied within, in the order in which inputs and outputs are made."""
    seen: list[Seen] = []

    def record(call, arguments, options, context):
        if context.method_name != "__call__":
            return call(*arguments, **options)
        path = "/".join(context.module.path)
        seen.append(Seen(path, "input", (arguments, options)))
        result = call(*arguments, **options)
        seen.append(Seen(path, "output", result))
        return result

    with nn.intercept_methods(record):
        yield seen
