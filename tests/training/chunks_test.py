"""A chunk as the loop takes it: the batches of its steps, and the moments that pass it by."""

import jax.numpy as jnp

from reid_jax.training.chunks import ChunkRunner
from reid_jax.training.state import TrainState


class Source:
    """Batches that name their steps."""

    def batches(self, begin, end):
        return begin, end


def test_a_chunk_gets_its_steps_and_the_moments_are_left_as_they_are():
    calls = []

    def chunk(state, batches, steps, key):
        calls.append((state, batches, steps, key))
        return TrainState(state.step + steps, state.params * 2, {}, {}), {"loss": jnp.zeros(5)}

    def diagnosis(begin, batches, offset):
        return float(begin.params), batches, offset

    run_chunk = ChunkRunner(chunk, diagnosis, Source(), "key")
    state = TrainState(jnp.int32(4), jnp.float32(1.5), {}, {}, swag="moments")
    after, history, first_not_finite = run_chunk(state, 4, 6)
    ((first, batches, steps, key),) = calls
    assert (first.swag, int(first.step), batches, steps, key) == (None, 4, (4, 6), 2, "key")
    assert (int(after.step), float(after.params), after.swag) == (6, 3.0, "moments")
    assert history["loss"].shape == (5,)
    assert first_not_finite(1) == (1.5, (4, 6), 1)  # of a copy of the state that the chunk began with
