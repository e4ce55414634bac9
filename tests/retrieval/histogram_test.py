import numpy as np
import pytest

from reid_jax.retrieval.histogram import (
    COARSE_BINS,
    FINE_BINS,
    bin_of,
    count_coarse,
    count_fine,
    distance_of,
    highest_key,
    key_of,
    lowest_key,
)
from reid_jax.retrieval.pairs import DistanceTiles


def test_keys_have_the_order_of_distances_and_give_them_back():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 10_000, dtype=np.uint32).view(np.float32)
    distance = np.unique(np.concatenate([bits[np.isfinite(bits)], np.float32([0, 1, -1, 1e-45, -1e-45, 3e38])]))
    key = key_of(distance)
    assert (np.diff(key) > 0).all()
    np.testing.assert_array_equal(distance_of(key), distance)
    assert key_of(np.float32([-0.0])) == key_of(np.float32([0.0]))
    bins = bin_of(key)
    assert bins.min() >= 0
    assert bins.max() < COARSE_BINS
    assert (lowest_key(bins) <= key).all()
    assert (key <= highest_key(bins)).all()
    np.testing.assert_array_equal(highest_key(bins) - lowest_key(bins), FINE_BINS - 1)


@pytest.mark.parametrize("negative_values", [False, True])
def test_counts_are_those_of_all_negatives(negative_values):
    rng = np.random.default_rng(1)
    distance = rng.choice(rng.standard_normal(50).astype(np.float32), (30, 200))
    distance = distance if negative_values else np.abs(distance)
    query_identity, gallery_identity = (rng.integers(0, 6, n).astype(np.int32) for n in (30, 200))
    tiles = DistanceTiles(lambda rows: distance[rows], gallery_identity, 30, width=1)
    negative = distance[np.not_equal.outer(query_identity, gallery_identity)]

    coarse = count_coarse(tiles, query_identity, "coarse")
    np.testing.assert_array_equal(coarse, np.bincount(bin_of(key_of(negative)), minlength=COARSE_BINS))

    chosen = np.array([np.argmax(coarse), np.flatnonzero(coarse)[0], -1], np.int32)
    fine = count_fine(tiles, query_identity, chosen, "fine").reshape(3, FINE_BINS)
    for counts, chosen_bin in zip(fine, chosen, strict=True):
        key = key_of(negative)
        key = key[bin_of(key) == chosen_bin]
        np.testing.assert_array_equal(counts, np.bincount(key - lowest_key(chosen_bin), minlength=FINE_BINS))
