import dataclasses
import os
import subprocess
import sys
import tracemalloc

import jax
import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval import pairs, ranking
from reid_jax.retrieval.labels import Labels
from reid_jax.retrieval.ranking import nearest, nearest_distances, rank, rank_distances


def _case(seed, nq=40, ng=300, identities=12, cameras=4, d=6, unknown=True):
    """Quantised embeddings: float32 distances are exact, and many are equal."""
    rng = np.random.default_rng(seed)
    query = rng.integers(-1, 2, (nq, d)).astype(np.float32)
    gallery = rng.integers(-1, 2, (ng, d)).astype(np.float32)
    labels = Labels(
        # Query identities beyond the gallery's have no match; gallery identity 0 is a distractor.
        query_identity=rng.integers(1, identities + 3, nq).astype(np.int32),
        query_camera=rng.integers(-1 if unknown else 0, cameras, nq).astype(np.int32),
        gallery_identity=rng.integers(0, identities, ng).astype(np.int32),
        gallery_camera=rng.integers(-1 if unknown else 0, cameras, ng).astype(np.int32),
    )
    return query, gallery, labels


def sorted_rows(query, gallery, labels):
    """For each query, by a full sort: (valid gallery in order, is it a match, distance), negatives first at ties."""
    query_identity, query_camera, gallery_identity, gallery_camera = dataclasses.astuple(labels)
    for q, identity, camera in zip(query, query_identity, query_camera, strict=True):
        row = []
        for j in range(len(gallery)):
            match = bool(gallery_identity[j] == identity)
            if match and camera != -1 and gallery_camera[j] == camera:
                continue
            squared = float(((q.astype(np.float64) - gallery[j].astype(np.float64)) ** 2).sum())
            row.append((squared, match, j))
        row.sort()  # False before True: at one distance the negatives come first
        yield [j for _, _, j in row], [m for _, m, _ in row], [s**0.5 for s, _, _ in row]


@pytest.mark.parametrize("seed", range(4))
def test_rank_is_the_full_sort_with_ties_against_the_match(seed):
    query, gallery, labels = _case(seed)
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
    query, gallery, labels = _case(5)
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
    query, gallery, labels = _case(6, nq=100)
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
        # Identity 0 is nobody's, so some chunks hold no match; matches of one query stand in several chunks.
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
    query, gallery, labels = _case(1)  # small integers: exact in any type
    one = rank(query, gallery, labels)
    for dtype in (np.float64, np.float16, np.int8, jax.numpy.bfloat16):
        _assert_same(one, rank(query.astype(dtype), jax.numpy.asarray(gallery.astype(dtype)), labels))


def _euclidean(query, gallery):
    return lambda rows: np.sqrt(((query[rows, None] - gallery[None]) ** 2).sum(2))


@pytest.mark.parametrize("block_bytes", [1, 2**26])
def test_given_distances_are_ranked_as_embeddings_are(monkeypatch, block_bytes):
    monkeypatch.setattr(pairs, "BLOCK_BYTES", block_bytes)
    query, gallery, labels = _case(2, nq=50)
    distances = _euclidean(query, gallery)  # exact, for the embeddings are quantised
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
    query, gallery, labels = _case(4)
    base = rank(query, gallery, labels)
    shifted = rank_distances(lambda rows: 2 * _euclidean(query, gallery)(rows).astype(np.float64) - 9, labels)
    np.testing.assert_array_equal(base.negatives_before, shifted.negatives_before)
    np.testing.assert_array_equal(2 * base.distance.astype(np.float64) - 9 < 0, shifted.distance < 0)
    assert (shifted.distance < 0).any()


def test_queries_without_a_match_are_not_asked_for():
    query, gallery, labels = _case(3)
    asked = []

    def distances(rows):
        asked.extend(rows)
        return _euclidean(query, gallery)(rows)

    result = rank_distances(distances, labels)
    assert sorted(asked) == np.flatnonzero(result.matches).tolist()


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
    query, gallery, labels = _case(0, nq=5, ng=9, unknown=False)
    labels.gallery_identity[:5] = labels.query_identity  # a query without a match is not asked for
    labels.gallery_camera[:5] = labels.query_camera + 1
    distances = _euclidean(query, gallery)
    for function in (rank_distances, lambda d, labels: nearest_distances(d, labels, 2)):
        with pytest.raises(InputError, match=message) as caught:
            function(lambda rows: change(distances(rows)), labels)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"rows": [0, 5]}, "rows reach from 0 to 5, but there are 5 queries"),
        ({"rows": [-1]}, "rows reach from -1"),
        ({"rows": [0.5]}, "type float64; give a list of query numbers"),
        (
            {"labels": Labels(np.zeros(5, int), np.zeros(4, int), [0], [0])},
            r"query_camera has shape \[4\], but .* 5 query",
        ),
        ({"labels": Labels([0], [0], np.zeros(0, int), [])}, "gallery_identity is empty"),
    ],
)
def test_nearest_distances_names_bad_arguments(arguments, message):
    query, gallery, labels = _case(0, nq=5, ng=9)
    with pytest.raises(InputError, match=message):
        nearest_distances(_euclidean(query, gallery), **{"labels": labels, "k": 1, **arguments})


def test_labels_may_be_any_integers():
    query, gallery, labels = _case(7)
    one = rank(query, gallery, labels)
    large = dataclasses.replace(
        labels,
        query_identity=labels.query_identity.astype(np.int64) * 10**15 - 5,
        gallery_identity=labels.gallery_identity.astype(np.int64) * 10**15 - 5,
    )
    two = rank(query, gallery, large)
    np.testing.assert_array_equal(one.negatives_before, two.negatives_before)


@pytest.mark.parametrize("k", [1, 10, 400])
def test_nearest_is_the_full_sort(k):
    query, gallery, labels = _case(3)
    index, distance = nearest(query, gallery, labels, k)
    assert index.shape == distance.shape == (40, k)
    for i, (item, _, expected) in enumerate(sorted_rows(query, gallery, labels)):
        order = sorted(range(len(item)), key=lambda j: (expected[j], item[j]))[:k]
        wanted = [item[j] for j in order]
        assert index[i].tolist() == wanted + [-1] * (k - len(wanted))
        np.testing.assert_allclose(distance[i, : len(wanted)], [expected[j] for j in order], rtol=1e-6)
        assert np.isinf(distance[i, len(wanted) :]).all()


def test_device_count_does_not_change_a_bit():
    program = """
import numpy as np, jax
from jax.sharding import AxisType
from reid_jax.retrieval import pairs, ranking, single_shot, verification
from reid_jax.retrieval.labels import Labels
pairs.BLOCK_BYTES = 40_000
pairs.CHUNK_BYTES = 128 * 24 * 4
rng = np.random.default_rng(0)
query, gallery = (rng.standard_normal((n, 24), dtype=np.float32) for n in (150, 333))
labels = Labels(rng.integers(0, 30, 150), rng.integers(0, 3, 150), rng.integers(0, 30, 333), rng.integers(0, 3, 333))
meshes = [jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]) for n in (1, 4)]
one, four = (ranking.rank(query, gallery, labels, mesh=mesh) for mesh in meshes)
assert np.array_equal(one.negatives_before, four.negatives_before)
assert np.array_equal(one.distance, four.distance)
one, four = (ranking.nearest(query, gallery, labels, 5, mesh=mesh) for mesh in meshes)
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
    count = ranking._count_function(tiles.mesh).lower(
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
    mesh = pairs.one_device()
    assert pairs.block_rows(mesh, 10_000, 100_000_000) == pairs.QUERY_MULTIPLE
    assert pairs.block_rows(mesh, 3, 128) == pairs.QUERY_MULTIPLE
    assert pairs.block_rows(mesh, 10_000, 128) == 1024
    assert pairs.block_rows(mesh, 93_820, 93_952) * 4 * 93_952 <= pairs.BLOCK_BYTES


def _bad(**changes):
    query, gallery, labels = _case(0, nq=5, ng=9)
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


def test_nearest_needs_a_positive_k():
    with pytest.raises(InputError, match="k is 0"):
        nearest(*_bad(), 0)
