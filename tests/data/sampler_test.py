"""The identity sampler: what every batch holds, how much of an epoch is used, and that it is a pure function."""

import numpy as np
import pytest

from reid_jax.data.sampler import IdentitySampler, JoinedSampler
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


def _joined():
    # Sets of 12, 5 and 3 identities, their rows mixed.
    sizes = [12, 5, 3]
    identity = np.repeat(np.arange(20), [4 + number % 5 for number in range(20)])
    origin = np.repeat(np.arange(3), sizes)[identity]
    order = np.random.default_rng(1).permutation(len(identity))
    return identity[order], origin[order]


def test_every_set_gives_its_share_of_a_batch():
    label, origin = _joined()
    sampler = JoinedSampler(label, origin, (4, 2, 2), 4)
    assert sampler.batch_size == 32
    for step in range(sampler.steps_per_epoch + 3):
        batch = sampler.indices(3, step)
        assert (batch.shape, batch.dtype) == ((32,), np.int32)
        groups = label[batch].reshape(8, 4)
        assert np.all(groups == groups[:, :1])
        assert len(set(groups[:, 0])) == 8
        assert origin[batch].reshape(8, 4)[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


def test_the_largest_set_sets_the_epoch_and_a_smaller_one_starts_over_shuffled_anew():
    label, origin = _joined()
    joined = JoinedSampler(label, origin, (2, 2, 2), 4)
    alone = [IdentitySampler(label[origin == number], 2, 4).steps_per_epoch for number in range(3)]
    assert joined.steps_per_epoch == max(alone) == alone[0]
    assert alone[2] < alone[0]
    drawn = [joined.indices(0, step)[16:].tolist() for step in range(alone[2] * 4)]
    rounds = [drawn[start : start + alone[2]] for start in range(0, len(drawn), alone[2])]
    assert rounds[0] != rounds[1]
    assert rounds[1] != rounds[2]


def test_joined_batches_are_a_function_of_seed_and_step_and_sets_draw_apart():
    label, origin = np.tile(np.repeat(np.arange(9), 4), 2), np.repeat([0, 1], 36)
    one, other = JoinedSampler(label, origin, (3, 3), 4), JoinedSampler(label, origin, (3, 3), 4)
    for step in (5, 0, 2):
        np.testing.assert_array_equal(one.indices(1, step), other.indices(1, step))
    assert not np.array_equal(one.indices(1, 5), one.indices(2, 5))
    # Two sets of the same labels: equal streams would draw equal places.
    batches = np.stack([one.indices(0, step) for step in range(6)])
    assert not np.array_equal(batches[:, :12], batches[:, 12:] - 36)


def test_other_sets_do_not_change_what_a_set_gives():
    label, origin = _joined()
    kept = np.flatnonzero(origin < 2)
    three, two = JoinedSampler(label, origin, (4, 2, 2), 4), JoinedSampler(label[kept], origin[kept], (4, 2), 4)
    np.testing.assert_array_equal(three.indices(0, 1)[:24], kept[two.indices(0, 1)])


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((4, 4), "3 data sets are joined; give 3 numbers"),
        ((4, 2, 1, 1), "3 data sets are joined"),
        ((4, 4, 0), "numbers above 0"),
        ((2, 2, 4), "asks data set 3 of 3 for 4 identities a batch, but its training split has 3"),
    ],
)
def test_shares_that_cannot_be_are_named(shares, said):
    with pytest.raises(InputError, match=said):
        JoinedSampler(*_joined(), shares, 4)
