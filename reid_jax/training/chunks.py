"""A chunk of a run's steps: its batches from the host, its steps taken in one dispatch on the devices."""

import dataclasses
import functools
from collections.abc import Callable

import jax

from reid_jax.training.not_finite import Diagnosis, copy_state
from reid_jax.training.sources import ResidentSource, StreamedSource
from reid_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class ChunkRunner:
    """Takes the steps of a run, a chunk at a call.

    `chunk` as `steps.compile_chunk` returns it for the source's kind of batches, with `key` as it takes it.
    """

    chunk: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    diagnosis: Diagnosis
    source: ResidentSource | StreamedSource
    key: jax.Array

    def __call__(
        self, state: TrainState, begin: int, end: int
    ) -> tuple[TrainState, dict[str, jax.Array], Callable[[int], str]]:
        """Dispatches steps `begin` to `end` and returns at once; `state` is donated.

        Returns (state after them, {metric: float32 [rows]} of which the first `end` - `begin` are used, a function that
        says of a step of the chunk, counted from 0, what was not finite first).
        """
        batches = self.source.batches(begin, end)
        # A chunk does not touch the moments of the weights: they are not copied with the state that it begins with.
        first, moments = dataclasses.replace(state, swag=None), state.swag
        first_not_finite = functools.partial(self.diagnosis, copy_state(first), batches)
        state, history = self.chunk(first, batches, end - begin, self.key)
        return dataclasses.replace(state, swag=moments), history, first_not_finite
