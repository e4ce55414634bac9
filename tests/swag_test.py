"""SWAG's moments and samples against NumPy over hand-made trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from reid_jax import parallel, swag
from reid_jax.errors import InputError


def trajectory(steps, seed=0, dtype=np.float32):
    """Weights around large means with small spreads, where float32's E[x^2] - mean^2 would be noise."""
    random = np.random.default_rng(seed)
    return [
        {
            "a": (100 + 1e-3 * random.standard_normal((3, 2))).astype(dtype),
            "b": {"c": random.standard_normal(4).astype(dtype)},
        }
        for _ in range(steps)
    ]


def collected(weights, rank=0):
    moments = swag.init(weights[0], rank)
    for one in weights:
        moments = swag.collect(moments, one)
    return moments


def flat(tree):
    return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_moments_are_those_of_the_trajectory(steps):
    weights = trajectory(steps)
    moments = collected(weights)
    rows = np.stack([flat(one) for one in weights])
    assert int(moments.count) == steps
    np.testing.assert_allclose(flat(swag.mean(moments)), rows.mean(0), rtol=1e-6, atol=1e-6)
    # 100 in float32 has steps of 8e-6: the spread of 1e-3 is known to about a percent.
    np.testing.assert_allclose(flat(moments.variance), rows.var(0), rtol=0.05, atol=1e-10)


def test_deviations_are_from_the_mean_so_far_and_the_last_ones_stay():
    weights = trajectory(5)
    moments = collected(weights, rank=3)
    rows = np.stack([flat(one) for one in weights])
    expected = {number: rows[number] - rows[: number + 1].mean(0) for number in (2, 3, 4)}
    columns = np.concatenate([np.asarray(leaf).reshape(3, -1) for leaf in jax.tree.leaves(moments.deviations)], 1)
    for number, deviation in expected.items():
        np.testing.assert_allclose(columns[number % 3], deviation, atol=2e-5)


@pytest.mark.parametrize(("rank", "scale"), [(0, 1.0), (0, 0.25), (3, 1.0), (3, 2.0)])
def test_samples_have_the_mean_and_covariance_of_the_definition(rank, scale):
    weights = [{"w": row["b"]["c"]} for row in trajectory(6, seed=1)]
    moments = collected(weights, rank)
    draw = jax.jit(jax.vmap(lambda key: swag.sample(moments, key, scale)["w"]))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 60_000)), np.float64)
    rows = np.stack([flat(one) for one in weights])
    variance = np.diag(rows.var(0))
    if rank:
        deviations = np.stack([rows[number] - rows[: number + 1].mean(0) for number in (3, 4, 5)])
        expected = scale / 2 * (variance + deviations.T @ deviations / (rank - 1))
    else:
        expected = scale * variance
    np.testing.assert_allclose(drawn.mean(0), rows.mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.05)


def test_leaves_are_drawn_apart():
    weights = [{"a": one["b"]["c"], "b": one["b"]["c"]} for one in trajectory(4)]
    drawn = swag.sample(collected(weights), jax.random.key(0))
    assert not np.allclose(drawn["a"], drawn["b"])


def test_the_floor_clamps_a_variance_of_zero():
    moments = collected([{"w": np.ones(1000, np.float32)}] * 3)
    same = swag.sample(moments, jax.random.key(0))["w"]
    np.testing.assert_allclose(same, 1.0)
    spread = swag.sample(moments, jax.random.key(0), variance_floor=0.01)["w"]
    assert np.std(spread) == pytest.approx(0.1, rel=0.1)


def test_moments_of_bfloat16_weights_are_float32():
    weights = [jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), one) for one in trajectory(3)]
    moments = collected(weights, rank=2)
    assert {leaf.dtype for leaf in jax.tree.leaves((moments.mean, moments.variance, moments.deviations))} == {
        jnp.dtype("float32")
    }
    expected = np.mean([np.asarray(one["b"]["c"], np.float64) for one in weights], 0)
    np.testing.assert_allclose(swag.mean(moments)["b"]["c"], expected, rtol=1e-6, atol=1e-6)


def test_scan_jit_and_sharding_give_what_the_plain_loop_gives():
    weights = trajectory(5)
    plain = collected(weights, rank=2)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights)
    mesh = parallel.create_mesh()
    spread = jax.device_put(stacked, NamedSharding(mesh, PartitionSpec()))
    scanned, _ = jax.jit(
        lambda rows: jax.lax.scan(lambda m, one: (swag.collect(m, one), None), swag.init(weights[0], 2), rows)
    )(spread)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), plain, scanned)


def test_one_weight_is_its_own_sample():
    weights = trajectory(1)
    for rank in (0, 2):
        drawn = swag.sample(collected(weights, rank), jax.random.key(1))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), drawn, weights[0])


def test_no_weights_are_refused_and_nan_under_jit():
    moments = swag.init(trajectory(1)[0])
    for use in (swag.mean, lambda m: swag.sample(m, jax.random.key(0))):
        with pytest.raises(InputError, match="no weights were collected"):
            use(moments)
    drawn = jax.jit(lambda m: swag.sample(m, jax.random.key(0)))(moments)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(drawn))


@pytest.mark.parametrize("rank", [-1, 1])
def test_a_rank_that_spans_nothing_is_refused(rank):
    with pytest.raises(InputError, match=f"rank is {rank}"):
        swag.init({"w": np.zeros(2)}, rank)


def test_memory_is_two_copies_of_the_parameters():
    weights = trajectory(1)[0]
    size = sum(leaf.size for leaf in jax.tree.leaves(weights))
    assert sum(leaf.size for leaf in jax.tree.leaves(swag.init(weights))) == 2 * size + 1
    assert sum(leaf.size for leaf in jax.tree.leaves(swag.init(weights, 3))) == 5 * size + 1
