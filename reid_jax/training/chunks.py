"""A chunk of a run's steps: its batches drawn on the host, its steps taken in one dispatch on the devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from reid_jax.data.resident import ResidentImages
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.training.not_finite import Diagnosis, copy_state
from reid_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class ChunkRunner:
    """Takes the steps of a run, a chunk at a call.

    `chunk` as `steps.compile_chunk` returns it, with `image`, `label` and `key` as it takes them; `rows`: the most
    steps of a chunk.
    """

    chunk: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    diagnosis: Diagnosis
    sampler: IdentitySampler | JoinedSampler
    seed: int
    rows: int
    image: ResidentImages
    label: jax.Array
    key: jax.Array

    def __call__(
        self, state: TrainState, begin: int, end: int
    ) -> tuple[TrainState, dict[str, jax.Array], Callable[[int], str]]:
        """Dispatches steps `begin` to `end` and returns at once; `state` is donated.

        Returns (state after them, {metric: float32 [rows]} of which the first `end` - `begin` are used, a function that
        says of a step of the chunk, counted from 0, what was not finite first).
        """
        indices = batch_indices(self.sampler, self.seed, begin, end, self.rows)
        # A chunk does not touch the moments of the weights: they are not copied with the state that it begins with.
        first, moments = dataclasses.replace(state, swag=None), state.swag
        first_not_finite = functools.partial(self.diagnosis, copy_state(first), indices)
        state, history = self.chunk(first, self.image, self.label, indices, end - begin, self.key)
        return dataclasses.replace(state, swag=moments), history, first_not_finite


def batch_indices(sampler: Any, seed: int, begin: int, end: int, rows: int) -> np.ndarray:
    """Returns the image numbers of steps `begin` to `end`, int32 [rows, batch]; rows beyond them are 0, not used."""
    indices = np.zeros((rows, sampler.batch_size), np.int32)
    for step in range(begin, end):
        indices[step - begin] = sampler.indices(seed, step)
    return indices
