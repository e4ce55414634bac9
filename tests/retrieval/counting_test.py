import numpy as np
import pytest

from reid_jax.retrieval import pairs
from reid_jax.retrieval.counting import MATCHES_AT_ONCE, Targets, count_negatives, match_width
from reid_jax.retrieval.pairs import PADDING, EmbeddingTiles, check_embeddings


@pytest.mark.parametrize("chunk_columns", [128, 1000])
def test_counts_are_those_of_all_distances(monkeypatch, chunk_columns):
    """Targets of any columns, in one chunk or several, of queries with none, one and more than one pass of them."""
    monkeypatch.setattr(pairs, "CHUNK_BYTES", chunk_columns * 5 * 4)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 1)
    rng = np.random.default_rng(0)
    query, gallery = (rng.integers(-1, 2, (n, 5)).astype(np.float32) for n in (40, 300))
    query_identity = rng.integers(0, 4, 40).astype(np.int32)
    label = rng.choice([PADDING, 0, 1, 2, 3], 300).astype(np.int32)

    number = rng.integers(0, 2 * MATCHES_AT_ONCE, 40)
    number[3] = 0
    chosen = [rng.choice(300 if i % 2 else 50, n, replace=False) for i, n in enumerate(number)]
    width = match_width(number)
    assert width == 2 * MATCHES_AT_ONCE

    def columns(block):
        padded = np.full((len(block), width), -1)
        for row, i in enumerate(block):
            padded[row, : number[i]] = chosen[i]
        return padded

    targets = Targets(np.flatnonzero(number), np.concatenate([[0], np.cumsum(number)]), columns, width)
    tiles = EmbeddingTiles(
        check_embeddings("query", query), check_embeddings("gallery", gallery), label, mesh=None, width=width
    )
    assert tiles.chunks == (3 if chunk_columns == 128 else 1)
    distance, count = count_negatives(tiles, query_identity, targets, "counting")

    exact = ((query[:, None] - gallery) ** 2).sum(-1)  # small whole numbers
    for i in range(40):
        rows = slice(targets.offsets[i], targets.offsets[i + 1])
        negative = (label != query_identity[i]) & (label != PADDING)
        expected = [int((negative & (exact[i] <= exact[i, j])).sum()) for j in chosen[i]]
        assert count[rows].tolist() == expected
        np.testing.assert_allclose(distance[rows], np.sqrt(exact[i, chosen[i]]), rtol=1e-6)


def test_a_blocks_columns_lie_in_the_flat_arrays_one_query_after_another():
    targets = Targets(np.array([2, 0]), np.array([0, 2, 2, 5]), lambda block: None, MATCHES_AT_ONCE)
    assert targets.count.tolist() == [2, 0, 3]
    assert targets.used(np.array([2, 0])).sum(1).tolist() == [3, 2]
    assert targets.flat(np.array([2, 0])).tolist() == [2, 3, 4, 0, 1]
