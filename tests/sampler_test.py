"""The identity sampler: what every batch holds, how much of an epoch is used, and that it is a pure function."""

import numpy as np
import pytest

from reid_jax.data.sampler import IdentitySampler
from reid_jax.errors import InputError


def _labels(counts):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)) * 7 + 3, counts))


COUNTS = [2, 3, 4, 5, 9, 16, 40, 7, 8, 12, 4, 4, 1]


@pytest.mark.parametrize("epoch", [0, 1])
def test_batches_hold_distinct_identities_and_no_image_twice_in_an_epoch(epoch):
    label = _labels(COUNTS)
    sampler = IdentitySampler(label, 3, 4)
    seen = []
    for step in range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch):
        batch = sampler.indices(5, step)
        assert batch.shape == (12,)
        assert batch.dtype == np.int32
        groups = label[batch].reshape(3, 4)
        assert np.all(groups == groups[:, :1])
        assert len(set(groups[:, 0])) == 3
        seen.append(batch)
    numbers, times = np.unique(np.concatenate(seen), return_counts=True)
    enough = np.isin(
        label, [identity for identity, n in zip(*np.unique(label, return_counts=True), strict=True) if n >= 4]
    )
    assert np.all(times[enough[numbers]] == 1)


def test_an_epoch_has_as_many_full_batches_as_there_can_be():
    label = _labels(COUNTS)
    groups = np.maximum(1, np.array(COUNTS) // 4)
    steps = IdentitySampler(label, 3, 4).steps_per_epoch

    def full_batches():  # always the identities with most groups left: the greedy rule reaches the maximum
        left, batches = groups.copy(), 0
        while np.count_nonzero(left) >= 3:
            left[np.argsort(-left)[:3]] -= 1
            batches += 1
        return batches

    assert steps == full_batches()


def test_batches_are_a_function_of_seed_and_step():
    label = _labels(COUNTS)
    one, other = IdentitySampler(label, 3, 4), IdentitySampler(label, 3, 4)
    steps = [7, 0, 3, 25]
    drawn = {step: one.indices(1, step) for step in steps}
    for step in reversed(steps):
        np.testing.assert_array_equal(other.indices(1, step), drawn[step])
    assert not np.array_equal(one.indices(2, 7), drawn[7])
    assert not np.array_equal(one.indices(1, 7 + one.steps_per_epoch), drawn[7])


def test_every_identity_is_drawn_over_some_epochs():
    label = _labels(COUNTS)
    sampler = IdentitySampler(label, 3, 4)
    drawn = np.concatenate([sampler.indices(0, step) for step in range(10 * sampler.steps_per_epoch)])
    assert set(label[drawn]) == set(label)


def test_too_few_identities_are_named():
    with pytest.raises(InputError, match="holds 8 identities.*has 3"):
        IdentitySampler(np.array([1, 1, 2, 2, 3]), 8, 4)
