import os
import subprocess
import sys

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval import pairs
from reid_jax.retrieval import rerank as module
from reid_jax.retrieval.rerank import rerank


def dense(query, gallery, k1=20, k2=6, weight=0.3):
    """The paper's definition, written with sets and full matrices: float64 [nq, ng]."""
    item = np.concatenate([query, gallery]).astype(np.float64)
    n, nq = len(item), len(query)
    squared = ((item[:, None] - item[None]) ** 2).sum(axis=2)
    largest = squared.max(axis=1, keepdims=True)
    original = np.divide(squared, largest, out=np.zeros_like(squared), where=largest > 0)
    order = [[i] + sorted((j for j in range(n) if j != i), key=lambda j: (squared[i, j], j)) for i in range(n)]

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    encoding = np.zeros((n, n))
    for i in range(n):
        core = reciprocal(i, k1)
        extended = set(core)
        for candidate in core:
            half = reciprocal(candidate, int(np.around(k1 / 2)))
            if 3 * len(half & core) > 2 * len(half):
                extended |= half
        member = sorted(extended)
        encoding[i, member] = np.exp(-original[i, member])
        encoding[i] /= encoding[i].sum()
    encoding = np.stack([encoding[order[i][:k2]].mean(axis=0) for i in range(n)])
    jaccard = np.empty((nq, n - nq))
    for i in range(nq):
        for j in range(nq, n):
            smaller, larger = np.minimum(encoding[i], encoding[j]), np.maximum(encoding[i], encoding[j])
            jaccard[i, j - nq] = 1 - smaller.sum() / larger.sum()
    return (1 - weight) * jaccard + weight * original[:nq, nq:]


def clustered(seed, nq=20, ng=90, identities=8, d=12, noise=0.5):
    """Unit embeddings around a centre an identity: query, gallery and the identities of both.

    On a grid of 1/256: float32 has their squared distances without rounding, which would order neighbours.
    """
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((identities, d))
    identity = rng.integers(0, identities, nq + ng)
    item = centre[identity] + noise * rng.standard_normal((nq + ng, d))
    item = (item / np.linalg.norm(item, axis=1, keepdims=True) * 256).round().astype(np.float32) / 256
    return item[:nq], item[nq:], identity[:nq], identity[nq:]


def check(query, gallery, **options):
    expected = dense(query, gallery, **options)
    result = rerank(query, gallery, **options)(np.arange(len(query)))
    assert result.dtype == np.float32
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=1e-6, rtol=0)
    return result


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{}, {"k1": 7, "k2": 3}, {"k1": 5, "k2": 2, "weight": 0.6}])
def test_equals_the_dense_definition(seed, options):
    query, gallery, _, _ = clustered(seed, noise=0.2 + 0.2 * seed)
    result = check(query, gallery, **options)
    assert len(np.unique(result)) > 100  # the cases say something


@pytest.mark.parametrize("k1", [1, 2, 3, 5, 6, 30])
def test_half_of_k1_is_rounded_half_to_even(k1):
    query, gallery, _, _ = clustered(20, noise=0.4)
    check(query, gallery, k1=k1)


@pytest.mark.parametrize(
    "options", [{"k2": 1}, {"k1": 1, "k2": 1}, {"k1": 2, "k2": 9}, {"weight": 0.0}, {"weight": 1.0}]
)
def test_ends_of_the_options(options):
    query, gallery, _, _ = clustered(21)
    check(query, gallery, **options)


def test_weight_one_is_the_original_distance():
    query, gallery, _, _ = clustered(22)
    squared = ((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    result = rerank(query, gallery, weight=1)(np.arange(len(query)))
    ratio = squared / result
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-4)


@pytest.mark.parametrize("k1", [3, 8, 20])
def test_ties_and_duplicates_are_ordered_by_number(k1):
    # Whole numbers: float32 distances are exact and many are equal; some items are there five times.
    rng = np.random.default_rng(23)
    item = rng.integers(-2, 3, (80, 4)).astype(np.float32)
    item[rng.permutation(80)[:25]] = np.repeat(item[:5], 5, axis=0)
    check(item[:15], item[15:], k1=k1, k2=4)


def test_more_duplicates_than_neighbours():
    query, gallery, _, _ = clustered(24, ng=60)
    gallery[10:40] = query[3]
    check(query, gallery, k1=6, k2=3)


def test_equal_items_get_equal_distances():
    query, gallery, _, _ = clustered(25)
    gallery[50] = gallery[7]
    result = rerank(query, gallery, weight=1)(np.arange(len(query)))
    np.testing.assert_array_equal(result[:, 50], result[:, 7])


@pytest.mark.parametrize("norm", [1.0, 1e-20, 1e17])
@pytest.mark.parametrize("dimensions", [1, 16, 129])
def test_the_distance_of_equal_items_is_exactly_zero(dimensions, norm):
    # Squared norms and products of equal vectors differ by rounding in about every other of these.
    for seed in range(12):
        vector = np.random.default_rng(90 + seed).standard_normal(dimensions)
        item = np.repeat(np.float32(norm * vector / np.linalg.norm(vector))[None], 70, 0)
        np.testing.assert_array_equal(rerank(item[:10], item[10:], weight=1)(np.arange(10)), 0)
        np.testing.assert_allclose(rerank(item[:10], item[10:])(np.arange(10)), dense(item[:10], item[10:]), atol=1e-6)


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_items_far_from_zero_and_near_each_other_keep_their_distances(spread):
    rng = np.random.default_rng(40)
    item = (rng.standard_normal(32) + spread * rng.standard_normal((70, 32))).astype(np.float32)
    check(item[:10], item[10:], weight=1)


def test_an_outlier_takes_no_digits_from_the_rest():
    query, gallery, _, _ = clustered(32)
    gallery = gallery + np.float32(3)
    gallery[17] += 500
    check(query + np.float32(3), gallery, weight=0)


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
def test_scale_does_not_count(scale):
    query, gallery, _, _ = clustered(33)
    result = rerank(query * np.float32(scale), gallery * np.float32(scale))(np.arange(len(query)))
    np.testing.assert_array_equal(result, rerank(query, gallery)(np.arange(len(query))))


@pytest.mark.parametrize(("nq", "ng"), [(1, 1), (1, 2), (3, 9), (2, 18), (2, 19), (2, 20)])
def test_fewer_items_than_neighbours(nq, ng):
    query, gallery, _, _ = clustered(26, nq=nq, ng=ng, identities=3)
    check(query, gallery)


def test_norms_count():
    query, gallery, _, _ = clustered(27)
    rng = np.random.default_rng(0)
    check(query * rng.integers(1, 9, (len(query), 1)).astype(np.float32), gallery * 4)


def test_any_rows_in_any_order():
    query, gallery, _, _ = clustered(28)
    distances = rerank(query, gallery)
    whole = distances(np.arange(len(query)))
    np.testing.assert_array_equal(distances(np.array([7, 0, 7, 19])), whole[[7, 0, 7, 19]])
    assert distances(np.array([], int)).shape == (0, len(gallery))


def test_small_blocks_are_as_one(monkeypatch):
    query, gallery, _, _ = clustered(29, nq=40, ng=200)
    one = rerank(query, gallery)(np.arange(40))
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 1)
    for name, value in {"ITEMS_AT_ONCE": 7, "PAIRS_AT_ONCE": 5, "QUERIES_AT_ONCE": 3}.items():
        monkeypatch.setattr(module, name, value)
    np.testing.assert_allclose(rerank(query, gallery)(np.arange(40)), one, atol=1e-6)


def test_device_count_does_not_change_a_bit():
    program = """
import numpy as np, jax
from jax.sharding import AxisType
from reid_jax.retrieval import pairs
from reid_jax.retrieval.rerank import rerank
pairs.BLOCK_BYTES = 40_000
rng = np.random.default_rng(0)
query, gallery = (rng.standard_normal((n, 24), dtype=np.float32) for n in (50, 333))
meshes = [jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]) for n in (1, 4)]
one, four = (rerank(query, gallery, mesh=mesh)(np.arange(50)) for mesh in meshes)
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


def test_improves_the_ranking_of_clusters():
    def mean_average_precision(distance, match):
        order = np.argsort(distance, axis=1, kind="stable")
        hit = np.take_along_axis(match, order, axis=1)
        precision = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
        return ((precision * hit).sum(axis=1) / hit.sum(axis=1)).mean()

    query, gallery, query_identity, gallery_identity = clustered(30, nq=40, ng=400, identities=20, d=16, noise=0.8)
    match = query_identity[:, None] == gallery_identity
    rows = np.arange(len(query))
    before = mean_average_precision(rerank(query, gallery, weight=1)(rows), match)
    after = mean_average_precision(rerank(query, gallery)(rows), match)
    assert after > before + 0.05


def test_a_far_item_keeps_no_common_neighbour():
    # Two groups far apart: nothing is shared across, so Jaccard distances are 1 there and less within.
    rng = np.random.default_rng(31)
    item = 0.1 * rng.standard_normal((60, 3)).astype(np.float32)
    item[::2, 0] += 100
    result = rerank(item[:10], item[10:], k1=8, weight=0)(np.arange(10))
    across = (np.arange(10)[:, None] - np.arange(10, 60)) % 2 == 1
    np.testing.assert_array_equal(result[across], 1)
    assert result[~across].mean() < 0.9


def _with(value):
    array = clustered(0)[1].copy()
    array[3, 1] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k1": 0}, "k1 is 0"),
        ({"k2": 0}, "k2 is 0"),
        ({"weight": -0.1}, "weight of the original distance is -0.1"),
        ({"weight": 1.1}, "weight of the original distance is 1.1"),
        ({"weight": float("nan")}, "weight of the original distance is nan"),
        ({"gallery": np.zeros((4, 5), np.float32)}, "12 dimensions, gallery embeddings 5"),
        ({"gallery": np.zeros((0, 12), np.float32)}, "gallery embeddings .* nothing to rank"),
        ({"gallery": np.zeros(12, np.float32)}, r"shape \[12\]"),
        ({"gallery": _with(np.nan)}, "gallery embedding 3 .* not finite"),
        ({"gallery": _with(1e30)}, "gallery embedding 3 .* beyond float32"),
    ],
)
def test_bad_input_is_named_in_one_line(changes, message):
    query, gallery, _, _ = clustered(0)
    arguments = {"query": query, "gallery": gallery, **changes}
    with pytest.raises(InputError, match=message) as caught:
        rerank(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([3, 20], "no query 20; there are 20"),
        ([-1], "no query -1"),
        ([0.5], "rows are float64"),
        ([[1]], r"int64 \[1, 1\]"),
        ([True], "rows are bool"),
    ],
)
def test_rows_are_queries(rows, message):
    query, gallery, _, _ = clustered(0)
    with pytest.raises(InputError, match=message):
        rerank(query, gallery)(np.array(rows))
