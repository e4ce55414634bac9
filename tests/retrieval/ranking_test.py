import dataclasses
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from made_rankings import euclidean, quantised_case, sorted_rows

from reid_jax.errors import InputError
from reid_jax.retrieval import pairs
from reid_jax.retrieval.nearest import nearest, nearest_distances
from reid_jax.retrieval.protocol import Labels
from reid_jax.retrieval.ranking import rank, rank_distances


@pytest.mark.parametrize("seed", range(4))
def test_rank_is_the_full_sort_with_ties_against_the_match(seed):
    query, gallery, labels = quantised_case(seed)
    result = rank(query, gallery, labels)
    assert len(result) == len(query)
    for i, (_, match, distance) in enumerate(sorted_rows(query, gallery, labels)):
        mine = slice(result.offsets[i], result.offsets[i + 1])
        position = np.flatnonzero(match)
        np.testing.assert_array_equal(result.negatives_before[mine], position - np.arange(len(position)))
        np.testing.assert_allclose(result.distance[mine], np.array(distance)[position], rtol=1e-6)
        same = np.sum(labels.gallery_identity == labels.query_identity[i])
        assert result.removed[i] == same - len(position)
    assert (result.matches == 0).any()
    assert result.removed.any()


def test_norms_count():
    # Further by angle, nearer by Euclidean distance.
    result = rank(np.float32([[1, 0]]), np.float32([[1, 1], [9, 0]]), Labels([1], [0], [1, 2], [1, 1]))
    assert result.negatives_before.tolist() == [0]
    assert result.distance.tolist() == [1.0]


def test_unknown_camera_removes_nothing():
    query, gallery = np.float32([[0.0, 1.0]]), np.float32([[0.0, 1.0], [1.0, 0.0]])
    labels = Labels([7], [-1], [7, 7], [-1, 3])
    result = rank(query, gallery, labels)
    assert result.matches.tolist() == [2]
    assert result.removed.tolist() == [0]
    index, _ = nearest(query, gallery, labels, 2)
    assert index.tolist() == [[0, 1]]


def test_a_duplicate_under_another_identity_ranks_before_the_match():
    # Not quantised: the tie must hold in every bit wherever the two stand in the gallery's blocks.
    rng = np.random.default_rng(0)
    for ng in (37, 128, 301):
        gallery = rng.standard_normal((ng, 67), dtype=np.float32)
        identity = np.full(ng, 2)
        identity[0] = 1
        gallery[1:] = gallery[0]
        query = rng.standard_normal((19, 67), dtype=np.float32)
        result = rank(query, gallery, Labels(np.ones(19, int), np.zeros(19, int), identity, np.ones(ng, int)))
        assert (result.negatives_before == ng - 1).all()


def test_the_query_itself_in_the_gallery_is_at_zero_distance():
    rng = np.random.default_rng(1)
    query = rng.standard_normal((50, 1024), dtype=np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    identity, camera = np.arange(50), np.zeros(50, int)
    result = rank(query, query, Labels(identity, camera, identity, camera + 1))
    assert (result.negatives_before == 0).all()
    np.testing.assert_allclose(result.distance, 0, atol=2e-3)  # rounding, never NaN


def test_order_of_the_gallery_does_not_matter():
    rng = np.random.default_rng(2)
    query, gallery, labels = quantised_case(5)
    query += rng.normal(0, 0.1, query.shape).astype(np.float32)
    gallery += rng.normal(0, 0.1, gallery.shape).astype(np.float32)
    order = rng.permutation(len(gallery))
    moved = dataclasses.replace(
        labels, gallery_identity=labels.gallery_identity[order], gallery_camera=labels.gallery_camera[order]
    )
    one, two = rank(query, gallery, labels), rank(query, gallery[order], moved)
    np.testing.assert_array_equal(one.negatives_before, two.negatives_before)
    np.testing.assert_array_equal(one.distance, two.distance)


def test_many_small_blocks_rank_as_one(monkeypatch):
    query, gallery, labels = quantised_case(6, nq=100)
    one = rank(query, gallery, labels)
    one_nearest = nearest(query, gallery, labels, 7)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 1)
    _assert_same(one, rank(query, gallery, labels))
    for a, b in zip(one_nearest, nearest(query, gallery, labels, 7), strict=True):
        np.testing.assert_array_equal(a, b)


def _assert_same(one, other):
    for field in ("offsets", "negatives_before", "distance", "removed"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("block_bytes", [1, 40_000, 2**26])
def test_a_streamed_gallery_ranks_as_one_chunk_to_the_bit(monkeypatch, block_bytes):
    # Neither quantised nor small: whatever a chunk or a block changed in the products would be seen.
    rng = np.random.default_rng(8)
    nq, ng, d = 70, 1500, 96
    query, gallery = (rng.standard_normal((n, d), dtype=np.float32) for n in (nq, ng))
    gallery[rng.integers(0, ng, 300)] = gallery[rng.integers(0, ng, 300)]  # ties across chunks
    labels = Labels(
        query_identity=rng.integers(1, 9, nq),
        query_camera=rng.integers(-1, 3, nq),
        # Identity 0 has no query, so some chunks hold no match; matches of one query stand in several chunks.
        gallery_identity=np.where(rng.random(ng) < 0.4, 0, rng.integers(1, 7, ng)),
        gallery_camera=rng.integers(-1, 3, ng),
    )
    one, one_nearest = rank(query, gallery, labels), nearest(query, gallery, labels, 150)
    assert one.matches.max() > 128
    monkeypatch.setattr(pairs, "CHUNK_BYTES", 128 * d * 4)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", block_bytes)
    tiles = []
    tile = pairs.EmbeddingTiles.tile
    monkeypatch.setattr(
        pairs.EmbeddingTiles,
        "tile",
        lambda self, chunk, block: tiles.append((chunk, tuple(block))) or tile(self, chunk, block),
    )
    _assert_same(one, rank(query, gallery, labels))
    assert {chunk for chunk, _ in tiles} == set(range(12))
    for a, b in zip(one_nearest, nearest(query, gallery, labels, 150), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_block_whose_matches_are_in_one_chunk_is_computed_once(monkeypatch):
    # Distractors cost one product each, not two: a streamed gallery is ranked at the speed of its products.
    rng = np.random.default_rng(9)
    query, gallery = (rng.standard_normal((n, 16), dtype=np.float32) for n in (40, 1024))
    monkeypatch.setattr(pairs, "CHUNK_BYTES", 128 * 16 * 4)
    computed = []
    tile = pairs.EmbeddingTiles.tile
    monkeypatch.setattr(
        pairs.EmbeddingTiles, "tile", lambda self, chunk, block: computed.append(chunk) or tile(self, chunk, block)
    )
    labels = Labels(
        query_identity=np.arange(40) % 10 + 1,
        query_camera=np.zeros(40, int),
        gallery_identity=np.where(np.arange(1024) % 8, 0, np.arange(1024) // 8 % 10 + 1),
        gallery_camera=np.ones(1024, int),
    )
    rank(query, gallery, labels)
    assert sorted(computed) == list(range(8))


def test_embeddings_of_other_types_are_taken():
    query, gallery, labels = quantised_case(1)  # small integers: exact in any type
    one = rank(query, gallery, labels)
    for dtype in (np.float64, np.float16, np.int8, jax.numpy.bfloat16):
        _assert_same(one, rank(query.astype(dtype), jax.numpy.asarray(gallery.astype(dtype)), labels))


@pytest.mark.parametrize("block_bytes", [1, 2**26])
def test_given_distances_are_ranked_as_embeddings_are(monkeypatch, block_bytes):
    monkeypatch.setattr(pairs, "BLOCK_BYTES", block_bytes)
    query, gallery, labels = quantised_case(2, nq=50)
    distances = euclidean(query, gallery)  # exact, for the embeddings are quantised
    _assert_same(rank(query, gallery, labels), rank_distances(distances, labels))
    for k in (1, 7, 400):
        for a, b in zip(nearest(query, gallery, labels, k), nearest_distances(distances, labels, k), strict=True):
            np.testing.assert_array_equal(a, b)
    rows = np.array([31, 4, 4, 49])
    for a, b in zip(
        nearest(query, gallery, labels, 5), nearest_distances(distances, labels, 5, rows=rows), strict=True
    ):
        np.testing.assert_array_equal(a[rows], b)
    index, distance = nearest_distances(distances, labels, 5, rows=[])
    assert index.shape == distance.shape == (0, 5)


def test_distances_may_be_of_any_sign_and_only_their_order_counts():
    query, gallery, labels = quantised_case(4)
    base = rank(query, gallery, labels)
    shifted = rank_distances(lambda rows: 2 * euclidean(query, gallery)(rows).astype(np.float64) - 9, labels)
    np.testing.assert_array_equal(base.negatives_before, shifted.negatives_before)
    np.testing.assert_array_equal(2 * base.distance.astype(np.float64) - 9 < 0, shifted.distance < 0)
    assert (shifted.distance < 0).any()


def test_queries_without_a_match_are_not_computed():
    query, gallery, labels = quantised_case(3)
    computed = []

    def distances(rows):
        computed.extend(rows)
        return euclidean(query, gallery)(rows)

    result = rank_distances(distances, labels)
    assert sorted(computed) == np.flatnonzero(result.matches).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda block: np.where(np.arange(9) == 7, np.nan, block), "to gallery item 7 is nan"),
        (lambda block: np.where(np.arange(9) == 2, np.inf, block), "to gallery item 2 is inf"),
        (lambda block: np.where(np.arange(9) == 2, 1e300, block.astype(np.float64)), "to gallery item 2 is 1e.300"),
        (lambda block: block[:, :-1], r"have shape \[\d+, 8\]; give one row a query, \[\d+, 9\]"),
        (lambda block: block[0], "give one row a query"),
        (lambda block: block.astype(object), "distances have type object"),
    ],
)
def test_bad_distances_are_named_in_one_line(change, message):
    query, gallery, labels = quantised_case(0, nq=5, ng=9, unknown=False)
    labels.gallery_identity[:5] = labels.query_identity  # else its distances are not computed
    labels.gallery_camera[:5] = labels.query_camera + 1
    distances = euclidean(query, gallery)
    for function in (rank_distances, lambda d, labels: nearest_distances(d, labels, 2)):
        with pytest.raises(InputError, match=message) as caught:
            function(lambda rows: change(distances(rows)), labels)
        assert "\n" not in str(caught.value)


def test_device_count_does_not_change_a_bit():
    program = """
import numpy as np, jax
from jax.sharding import AxisType
from reid_jax.retrieval import nearest, pairs, ranking, single_shot, verification
from reid_jax.retrieval.protocol import Labels
pairs.BLOCK_BYTES = 40_000
pairs.CHUNK_BYTES = 128 * 24 * 4
rng = np.random.default_rng(0)
query, gallery = (rng.standard_normal((n, 24), dtype=np.float32) for n in (150, 333))
labels = Labels(rng.integers(0, 30, 150), rng.integers(0, 3, 150), rng.integers(0, 30, 333), rng.integers(0, 3, 333))
meshes = [jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]) for n in (1, 4)]
one, four = (ranking.rank(query, gallery, labels, mesh=mesh) for mesh in meshes)
assert np.array_equal(one.negatives_before, four.negatives_before)
assert np.array_equal(one.distance, four.distance)
one, four = (nearest.nearest(query, gallery, labels, 5, mesh=mesh) for mesh in meshes)
assert np.array_equal(one[0], four[0]) and np.array_equal(one[1], four[1])
ranked = ranking.rank(query, gallery, labels)
one, four = (verification.verify(query, gallery, labels, ranked, mesh=mesh) for mesh in meshes)
assert one.metrics == four.metrics and np.array_equal(one.distance, four.distance)
assert np.array_equal(one.false_positive_rate, four.false_positive_rate)
one, four = (single_shot.single_shot_ranks(query, gallery, labels, mesh=mesh) for mesh in meshes)
assert np.array_equal(one, four)
print(len(jax.devices()), "devices agree")
"""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 devices agree\n"


def _bad(**changes):
    query, gallery, labels = quantised_case(0, nq=5, ng=9)
    arrays = {"query": query, "gallery": gallery, **vars(labels)}
    for key, change in changes.items():
        arrays[key] = change(arrays[key])
    return arrays.pop("query"), arrays.pop("gallery"), Labels(**arrays)


def _with(value):
    def change(array):
        array = array.copy()
        array[3, 1] = value
        return array

    return change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": lambda a: a[:, :4]}, "4 dimensions, gallery embeddings 6"),
        ({"query": lambda a: a[0]}, r"shape \[6\]"),
        ({"query": lambda a: a[:0]}, "query embeddings .* nothing to rank"),
        ({"gallery": lambda a: a[:0]}, "gallery embeddings .* nothing to rank"),
        ({"gallery": _with(np.nan)}, "gallery embedding 3 .* not finite"),
        ({"query": _with(np.inf)}, "query embedding 3 .* not finite"),
        ({"query": _with(1e30)}, "query embedding 3 .* beyond float32"),
        ({"query": lambda a: a.astype(str)}, "query embeddings have type <U"),
        ({"query_camera": lambda a: a[:-1]}, r"query_camera has shape \[4\], but there are 5"),
        ({"gallery_identity": lambda a: a[:-2]}, r"gallery_identity has shape \[7\], but there are 9"),
        ({"gallery_camera": lambda a: a + 0.5}, "gallery_camera has type float64"),
    ],
)
def test_bad_input_is_named_in_one_line(changes, message):
    arguments = _bad(**changes)
    for function in (rank, lambda *arguments: nearest(*arguments, 2)):
        with pytest.raises(InputError, match=message) as caught:
            function(*arguments)
        assert "\n" not in str(caught.value)
