"""A chunk as the loop takes it: the batches of its steps, and the moments that pass it by."""

import jax.numpy as jnp
import numpy as np

from reid_jax.data.sampler import IdentitySampler
from reid_jax.training.chunks import ChunkRunner, batch_indices
from reid_jax.training.state import TrainState

SAMPLER = IdentitySampler(np.repeat(np.arange(6), 4), identities=2, images=2)


def test_a_row_is_the_batch_of_a_step_whatever_the_chunks():
    whole = batch_indices(SAMPLER, 3, 0, 6, 6)
    np.testing.assert_array_equal(whole, [SAMPLER.indices(3, step) for step in range(6)])
    later = batch_indices(SAMPLER, 3, 4, 6, 5)
    assert (later.dtype, later.shape) == (np.int32, (5, 4))
    np.testing.assert_array_equal(later[:2], whole[4:])
    assert not later[2:].any()


def test_a_chunk_gets_its_steps_and_the_moments_are_left_as_they_are():
    calls = []

    def chunk(state, image, label, indices, steps, key):
        calls.append((state, image, label, indices, steps, key))
        return TrainState(state.step + steps, state.params * 2, {}, {}), {"loss": jnp.zeros(len(indices))}

    def diagnosis(begin, indices, offset):
        return float(begin.params), indices.shape, offset

    run_chunk = ChunkRunner(chunk, diagnosis, SAMPLER, 3, 5, "image", "label", "key")
    state = TrainState(jnp.int32(4), jnp.float32(1.5), {}, {}, swag="moments")
    after, history, first_not_finite = run_chunk(state, 4, 6)
    ((first, image, label, indices, steps, key),) = calls
    assert (first.swag, int(first.step), image, label, steps, key) == (None, 4, "image", "label", 2, "key")
    np.testing.assert_array_equal(indices, batch_indices(SAMPLER, 3, 4, 6, 5))
    assert (int(after.step), float(after.params), after.swag) == (6, 3.0, "moments")
    assert history["loss"].shape == (5,)
    assert first_not_finite(1) == (1.5, (5, 4), 1)  # of a copy of the state that the chunk began with
