"""What long work says on stderr, on process 0 alone: a bar that fills up, a line before a wait, a note."""

import functools
import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

_DELAY = 2.0  # seconds: work that is done by then shows no bar
_INTERVAL = 0.5  # seconds between two looks of a bar


def progress_bar(total: int, name: str, unit: str = "images") -> tqdm:
    """Returns a bar over `total` units, to be used as a context and advanced by `update(count)`.

    It appears after two seconds; an empty `name` shows none.
    """
    return _bar(None, total, name, unit)


def with_progress(items: Iterable[T], name: str, unit: str, total: int | None = None) -> Iterable[T]:
    """Returns `items` behind a bar that advances as they are taken; `total` is needed where they have no length."""
    return _bar(items, total, name, unit)


def announce(text: str) -> None:
    """Writes a line before work that takes a while and cannot say how far it is."""
    if not _is_follower():
        tqdm.write(text, file=sys.stderr)


@functools.cache
def tell(text: str) -> None:
    """Writes 'note: ' and a text, once however often it comes up in this process."""
    announce(f"note: {text}")


def _bar(items: Iterable[T] | None, total: int | None, name: str, unit: str) -> tqdm:
    hidden = not name or _is_follower()
    return tqdm(items, name, total, unit=f" {unit}", delay=_DELAY, mininterval=_INTERVAL, disable=hidden)


def _is_follower() -> bool:
    # JAX is imported by nobody here: where processes were joined it is there, and elsewhere asking it for the number of
    # this process would claim an accelerator for reading files.
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_index() != 0
