import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval import ranking
from reid_jax.retrieval.ranking import nearest, rank


def _case(seed, nq=40, ng=300, identities=12, cameras=4, d=6, unknown=True):
    """Quantised embeddings: float32 distances are exact, and many are equal."""
    rng = np.random.default_rng(seed)
    query = rng.integers(-1, 2, (nq, d)).astype(np.float32)
    gallery = rng.integers(-1, 2, (ng, d)).astype(np.float32)
    labels = {
        # Query identities beyond the gallery's have no match; gallery identity 0 is a distractor.
        "query_identity": rng.integers(1, identities + 3, nq).astype(np.int32),
        "query_camera": rng.integers(-1 if unknown else 0, cameras, nq).astype(np.int32),
        "gallery_identity": rng.integers(0, identities, ng).astype(np.int32),
        "gallery_camera": rng.integers(-1 if unknown else 0, cameras, ng).astype(np.int32),
    }
    return query, gallery, labels


def sorted_rows(query, gallery, query_identity, query_camera, gallery_identity, gallery_camera):
    """For each query, by a full sort: (valid gallery in order, is it a match, distance), negatives first at ties."""
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
    result = rank(query, gallery, **labels)
    assert len(result) == len(query)
    for i, (_, match, distance) in enumerate(sorted_rows(query, gallery, **labels)):
        mine = slice(result.offsets[i], result.offsets[i + 1])
        position = np.flatnonzero(match)
        np.testing.assert_array_equal(result.negatives_before[mine], position - np.arange(len(position)))
        np.testing.assert_allclose(result.distance[mine], np.array(distance)[position], rtol=1e-6)
        same = np.sum(labels["gallery_identity"] == labels["query_identity"][i])
        assert result.removed[i] == same - len(position)
    assert (result.matches == 0).any()
    assert result.removed.any()


def test_norms_count():
    # Further by angle, nearer by Euclidean distance.
    labels = {"query_identity": [1], "query_camera": [0], "gallery_identity": [1, 2], "gallery_camera": [1, 1]}
    result = rank(np.float32([[1, 0]]), np.float32([[1, 1], [9, 0]]), **labels)
    assert result.negatives_before.tolist() == [0]
    assert result.distance.tolist() == [1.0]


def test_unknown_camera_removes_nothing():
    query, gallery = np.float32([[0.0, 1.0]]), np.float32([[0.0, 1.0], [1.0, 0.0]])
    labels = {"query_identity": [7], "query_camera": [-1], "gallery_identity": [7, 7]}
    result = rank(query, gallery, **labels, gallery_camera=[-1, 3])
    assert result.matches.tolist() == [2]
    assert result.removed.tolist() == [0]
    index, _ = nearest(query, gallery, 2, **labels, gallery_camera=[-1, 3])
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
        result = rank(
            query,
            gallery,
            query_identity=np.ones(19, int),
            query_camera=np.zeros(19, int),
            gallery_identity=identity,
            gallery_camera=np.ones(ng, int),
        )
        assert (result.negatives_before == ng - 1).all()


def test_the_query_itself_in_the_gallery_is_at_zero_distance():
    rng = np.random.default_rng(1)
    query = rng.standard_normal((50, 1024), dtype=np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    identity, camera = np.arange(50), np.zeros(50, int)
    result = rank(
        query,
        query,
        query_identity=identity,
        query_camera=camera,
        gallery_identity=identity,
        gallery_camera=camera + 1,
    )
    assert (result.negatives_before == 0).all()
    np.testing.assert_allclose(result.distance, 0, atol=2e-3)  # rounding, never NaN


def test_order_of_the_gallery_does_not_matter():
    rng = np.random.default_rng(2)
    query, gallery, labels = _case(5)
    query += rng.normal(0, 0.1, query.shape).astype(np.float32)
    gallery += rng.normal(0, 0.1, gallery.shape).astype(np.float32)
    order = rng.permutation(len(gallery))
    moved = {key: value[order] if "gallery" in key else value for key, value in labels.items()}
    one, two = rank(query, gallery, **labels), rank(query, gallery[order], **moved)
    np.testing.assert_array_equal(one.negatives_before, two.negatives_before)
    np.testing.assert_array_equal(one.distance, two.distance)


def test_many_small_blocks_rank_as_one(monkeypatch):
    query, gallery, labels = _case(6, nq=100)
    one = rank(query, gallery, **labels)
    one_nearest = nearest(query, gallery, 7, **labels)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 1)
    many = rank(query, gallery, **labels)
    for field in ("offsets", "negatives_before", "distance", "removed"):
        np.testing.assert_array_equal(getattr(one, field), getattr(many, field))
    for a, b in zip(one_nearest, nearest(query, gallery, 7, **labels), strict=True):
        np.testing.assert_array_equal(a, b)


def test_labels_may_be_any_integers():
    query, gallery, labels = _case(7)
    one = rank(query, gallery, **labels)
    labels["query_identity"] = labels["query_identity"].astype(np.int64) * 10**15 - 5
    labels["gallery_identity"] = labels["gallery_identity"].astype(np.int64) * 10**15 - 5
    two = rank(query, gallery, **labels)
    np.testing.assert_array_equal(one.negatives_before, two.negatives_before)


@pytest.mark.parametrize("k", [1, 10, 400])
def test_nearest_is_the_full_sort(k):
    query, gallery, labels = _case(3)
    index, distance = nearest(query, gallery, k, **labels)
    assert index.shape == distance.shape == (40, k)
    for i, (item, _, expected) in enumerate(sorted_rows(query, gallery, **labels)):
        order = sorted(range(len(item)), key=lambda j: (expected[j], item[j]))[:k]
        wanted = [item[j] for j in order]
        assert index[i].tolist() == wanted + [-1] * (k - len(wanted))
        np.testing.assert_allclose(distance[i, : len(wanted)], [expected[j] for j in order], rtol=1e-6)
        assert np.isinf(distance[i, len(wanted) :]).all()


def test_device_count_does_not_change_a_bit():
    program = """
import numpy as np, jax
from jax.sharding import AxisType
from reid_jax.retrieval import ranking
ranking.BLOCK_BYTES = 40_000
rng = np.random.default_rng(0)
query, gallery = (rng.standard_normal((n, 24), dtype=np.float32) for n in (150, 333))
labels = dict(query_identity=rng.integers(0, 30, 150), query_camera=rng.integers(0, 3, 150),
              gallery_identity=rng.integers(0, 30, 333), gallery_camera=rng.integers(0, 3, 333))
meshes = [jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]) for n in (1, 4)]
one, four = (ranking.rank(query, gallery, **labels, mesh=mesh) for mesh in meshes)
assert np.array_equal(one.negatives_before, four.negatives_before)
assert np.array_equal(one.distance, four.distance)
one, four = (ranking.nearest(query, gallery, 5, **labels, mesh=mesh) for mesh in meshes)
assert np.array_equal(one[0], four[0]) and np.array_equal(one[1], four[1])
print(len(jax.devices()), "devices agree")
"""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 devices agree\n"


def test_memory_at_msmt17_size_is_bounded():
    nq, ng, width, d = 11_659, 82_161, 400, 1024
    rows = ranking._block_rows(nq, ng, width)
    padded = ranking._round_up(ng, ranking.GALLERY_MULTIPLE)
    assert 16 <= rows <= 1024
    assert rows % ranking.QUERY_MULTIPLE == 0

    def shape(*dimensions, dtype=np.float32):
        return jax.ShapeDtypeStruct(dimensions, dtype)

    compiled = ranking._count_function(ranking._one_device()).lower(
        shape(rows, d),
        shape(rows, dtype=np.int32),
        shape(rows, width, dtype=np.int32),
        shape(1, dtype=np.int32),
        shape(padded, d),
        shape(padded),
        shape(padded, dtype=np.int32),
    )
    memory = compiled.compile().memory_analysis()
    if memory is None:
        pytest.skip("this backend does not tell its memory")
    assert memory.temp_size_in_bytes < 3 * ranking.BLOCK_BYTES


def test_a_huge_gallery_still_gets_a_block():
    assert ranking._block_rows(10_000, 100_000_000, 8) == ranking.QUERY_MULTIPLE
    assert ranking._block_rows(3, 100, 8) == ranking.QUERY_MULTIPLE


def _bad(**changes):
    query, gallery, labels = _case(0, nq=5, ng=9)
    arguments = {"query": query, "gallery": gallery, **labels}
    for key, change in changes.items():
        arguments[key] = change(arguments[key])
    return arguments


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
        ({"query_camera": lambda a: a[:-1]}, r"query_camera has shape \[4\], but there are 5"),
        ({"gallery_identity": lambda a: a[:-2]}, r"gallery_identity has shape \[7\], but there are 9"),
        ({"gallery_camera": lambda a: a + 0.5}, "gallery_camera has type float64"),
    ],
)
def test_bad_input_is_named_in_one_line(changes, message):
    arguments = _bad(**changes)
    for function in (rank, lambda **a: nearest(a.pop("query"), a.pop("gallery"), 2, **a)):
        with pytest.raises(InputError, match=message) as caught:
            function(**dict(arguments))
        assert "\n" not in str(caught.value)


def test_nearest_needs_a_positive_k():
    arguments = _bad()
    with pytest.raises(InputError, match="k is 0"):
        nearest(arguments.pop("query"), arguments.pop("gallery"), 0, **arguments)
