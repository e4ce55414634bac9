"""An export beside our own forward pass, on the same images."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from reid_jax import parallel
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.weights import Weights

BATCHES = (1, 3, 8)  # numbers of images at a time
CLOSE = 1e-4  # most that an element of a descriptor may differ by, which is of unit norm
CLOSE_IN_FLOAT16 = 1e-2
CLOSE_IN_BFLOAT16 = 2e-2


@dataclasses.dataclass(frozen=True)
class Written:
    """A file that was written: its bytes, the largest difference from our descriptors, and what else is to be said."""

    path: Path
    size: int
    difference: float
    more: str

    def __str__(self) -> str:
        counts = ", ".join(map(str, BATCHES))
        return (
            f"{self.path}: {self.size / 2**20:.2f} MiB, {self.more}; with {counts} images at a time its descriptors "
            f"differ from ours by {self.difference:.1e} at most"
        )


def in_float32(weights: Weights) -> Weights:
    """The weights with a network that computes in float32, if it has a choice."""
    if "dtype" not in weights.config.model:
        return weights
    config = weights.config.copy_and_resolve_references().unlock()
    config.model.dtype = "float32"
    return Weights(config.lock(), weights.identities, weights.variables)


def made_batches(image_size: tuple[int, int]) -> list[np.ndarray]:
    """Images of noise uint8 [n, h, w, 3], in each of the `BATCHES`."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (count, *image_size, 3), np.uint8) for count in BATCHES]


def own_descriptors(weights: Weights, batches: list[np.ndarray]) -> list[np.ndarray]:
    """Our descriptors of the batches, by the forward pass that evaluation takes."""
    with jax.default_matmul_precision("highest"):
        encoder = Encoder.of(weights, parallel.one_device())
        described = encoder.describe(np.concatenate(batches))
    return np.split(described, np.cumsum([len(batch) for batch in batches])[:-1])


def require_parity(
    path: object, batches: list[np.ndarray], expected: list[np.ndarray], run: Callable, most: float
) -> float:
    """Returns the largest difference between `run(batch)` and what is expected of it, over all batches.

    Raises InputError where it is above `most`: what was exported is not the network.
    """
    worst = 0.0
    for batch, own in zip(batches, expected, strict=True):
        theirs = run(batch)
        difference = float(np.abs(theirs - own).max()) if theirs.shape == own.shape else np.inf
        if not difference <= most:
            raise InputError(
                f"{path} is not written: with {len(batch)} images at a time its descriptors differ from ours by "
                f"{difference:.1e}, and {most:g} is allowed; export to the other format, or report these weights"
            )
        worst = max(worst, difference)
    return worst
