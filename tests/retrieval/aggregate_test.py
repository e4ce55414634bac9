import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval.aggregate import pool, renormalise


def unit(row, streams):
    """One row by the definition, in float64."""
    parts, start = [], 0
    for width in streams:
        part = np.asarray(row[start : start + width], np.float64)
        norm = np.sqrt((part**2).sum())
        parts.append(part / norm / np.sqrt(len(streams)) if norm > 0 else part)
        start += width
    return np.concatenate(parts)


@pytest.mark.parametrize("streams", [(8,), (5, 3), (1, 1, 6), (2, 2, 2, 2)])
def test_each_stream_gets_its_share_of_the_norm(streams):
    rows = 50 * np.random.default_rng(0).standard_normal((20, 8))
    result = renormalise(rows, streams)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [unit(row, streams) for row in rows], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, rtol=1e-5)


def test_scale_of_a_stream_does_not_matter():
    rows = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    scaled = rows * np.repeat(np.float32([7, 0.01]), [5, 3])
    np.testing.assert_allclose(renormalise(scaled, (5, 3)), renormalise(rows, (5, 3)), atol=1e-6)


def test_unit_rows_stay():
    rows = renormalise(np.random.default_rng(2).standard_normal((6, 8)), (5, 3))
    np.testing.assert_allclose(renormalise(rows, (5, 3)), rows, atol=1e-6)


def test_a_zero_stream_stays_zero():
    rows = np.float32([[3, 4, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(renormalise(rows, (2, 2)) * np.sqrt(2), [[0.6, 0.8, 0, 0], [0, 0, 0, 0]], rtol=1e-6)


def test_the_input_is_left_alone():
    rows = np.float32([[3, 4]])
    renormalise(rows, (2,))
    assert rows.tolist() == [[3, 4]]


def test_no_rows():
    assert renormalise(np.zeros((0, 8), np.float32), (5, 3)).shape == (0, 8)


@pytest.mark.parametrize("streams", [(5, 4), (7,), (), (9, -1), (8, 0)])
def test_widths_add_up(streams):
    with pytest.raises(InputError, match=r"descriptors have shape \[2, 8\]") as caught:
        renormalise(np.ones((2, 8), np.float32), streams)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_pool_is_the_mean_of_each_group(seed):
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.concatenate([np.arange(9), rng.integers(0, 9, 40)]))
    rows = renormalise(rng.standard_normal((len(group), 8)), (5, 3))
    result = pool(rows, group, (5, 3))
    means = [np.mean([row for row, g in zip(rows, group, strict=True) if g == i], axis=0) for i in range(9)]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [unit(mean, (5, 3)) for mean in means], atol=1e-6)


def test_groups_of_one_change_nothing_but_the_order():
    rows = renormalise(np.random.default_rng(4).standard_normal((5, 8)), (5, 3))
    group = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(pool(rows, group, (5, 3))[group], rows, atol=1e-6)


def test_order_within_a_group_does_not_matter():
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(4), 6)
    rows = renormalise(rng.standard_normal((24, 8)), (5, 3))
    order = rng.permutation(24)
    np.testing.assert_allclose(pool(rows[order], group[order], (5, 3)), pool(rows, group, (5, 3)), atol=1e-6)


def test_frames_that_cancel_give_zero_not_nan():
    rows = np.float32([[1, 0], [-1, 0], [0, 1]])
    np.testing.assert_array_equal(pool(rows, np.array([0, 0, 1]), (2,)), [[0, 0], [0, 1]])


@pytest.mark.parametrize("group", [[0, 2, 2], [-1, 0, 1], [0, 1], [0, 1, 1, 0], []])
def test_every_descriptor_has_a_group_and_every_group_a_member(group):
    with pytest.raises(InputError, match="groups of shape"):
        pool(np.ones((3, 8), np.float32), np.array(group, int), (5, 3))
