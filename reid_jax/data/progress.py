"""The bar on stderr over anything that may take longer than a few seconds."""

import sys

from tqdm import tqdm


def image_bar(total: int, name: str) -> tqdm:
    """A bar over `total` images, shown by process 0 alone after two seconds; an empty `name` shows none."""
    # JAX is asked only where it joined processes: elsewhere that would claim an accelerator for reading files.
    jax = sys.modules.get("jax")
    follower = jax is not None and jax.distributed.is_initialized() and jax.process_index() != 0
    return tqdm(total=total, desc=name, unit=" images", delay=2, mininterval=0.5, disable=not name or follower)
