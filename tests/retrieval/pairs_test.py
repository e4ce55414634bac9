import tracemalloc

import jax
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.retrieval import counting, pairs
from reid_jax.retrieval.protocol import Labels


def test_memory_at_msmt17_size_is_bounded():
    d, width = 1024, 400
    vector = np.broadcast_to(np.float32(0), (82_161, d))  # takes no memory: nothing is computed
    gallery = pairs.Embeddings(vector, np.zeros(82_161, np.float32))
    query = pairs.Embeddings(vector[:11_659], np.zeros(11_659, np.float32))
    tiles = pairs.EmbeddingTiles(query, gallery, np.zeros(82_161, np.int32), mesh=None, width=width)
    assert tiles.chunks == 2
    assert tiles.columns * d * 4 <= pairs.CHUNK_BYTES
    assert 16 <= tiles.rows <= 1024
    assert tiles.rows % pairs.QUERY_MULTIPLE == 0

    def shape(*dimensions, dtype=np.float32):
        return jax.ShapeDtypeStruct(dimensions, dtype)

    rows, columns = tiles.rows, tiles.columns
    score = pairs._score_function(tiles.mesh).lower(shape(rows, d), shape(columns, d), shape(columns))
    count = counting._count_function(tiles.mesh).lower(
        shape(rows, columns),
        shape(rows, dtype=np.int32),
        shape(rows, width),
        shape(1, dtype=np.int32),
        shape(columns, dtype=np.int32),
    )
    for lowered in (score, count):
        memory = lowered.compile().memory_analysis()
        if memory is None:
            pytest.skip("this backend does not tell its memory")
        assert memory.temp_size_in_bytes + memory.output_size_in_bytes < 2 * pairs.BLOCK_BYTES


def test_checks_copy_nothing_of_the_size_of_the_gallery():
    gallery = np.zeros((20_000, 256), np.float32)
    query, label = gallery[:2], np.zeros(20_000, int)
    labels = Labels(label[:2], label[:2], label, label)
    tracemalloc.start()
    checked = pairs.check_pairs(query, gallery, labels)[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.shares_memory(checked.vector, gallery)
    assert peak < gallery.nbytes / 4


def test_a_huge_gallery_still_gets_a_block():
    mesh = parallel.one_device()
    assert pairs.block_rows(mesh, 10_000, 100_000_000) == pairs.QUERY_MULTIPLE
    assert pairs.block_rows(mesh, 3, 128) == pairs.QUERY_MULTIPLE
    assert pairs.block_rows(mesh, 10_000, 128) == 1024
    assert pairs.block_rows(mesh, 93_820, 93_952) * 4 * 93_952 <= pairs.BLOCK_BYTES
