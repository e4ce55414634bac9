"""What reading data says on stderr: a bar over what may take longer than a few seconds, and what is worth knowing."""

import functools
import sys

from tqdm import tqdm


def image_bar(total: int, name: str) -> tqdm:
    """A bar over `total` images, shown by process 0 alone after two seconds; an empty `name` shows none."""
    return tqdm(total=total, desc=name, unit=" images", delay=2, mininterval=0.5, disable=not name or _is_follower())


@functools.cache
def tell(text: str) -> None:
    """Writes a line about the data on stderr, on process 0 alone, and once however often the data are opened."""
    if not _is_follower():
        tqdm.write(f"note: {text}", file=sys.stderr)


def _is_follower() -> bool:
    # JAX is asked only where it joined processes: elsewhere that would claim an accelerator for reading files.
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_index() != 0
