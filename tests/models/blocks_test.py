"""The shuffle units: what is kept, and where what is computed goes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import random

from reid_jax.models import ops
from reid_jax.models.blocks import (
    ConvNorm,
    InstanceNorm,
    ShuffleA,
    ShuffleABranch,
    ShuffleB,
    ShuffleBBranches,
)

IMAGE = (2, 4, 6, 8)


def applied(unit, x):
    return jax.jit(lambda x: unit.init_with_output(jax.random.key(0), x, False))(x)


def test_shuffle_a_keeps_the_first_half_and_computes_on_the_second():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(IMAGE), jnp.float32)
    y, variables = applied(ShuffleA(), x)
    assert y.shape == x.shape
    np.testing.assert_array_equal(y[..., 0::2], x[..., :4])
    branch = jax.jit(lambda x: ShuffleABranch().apply(variables, x, False))(x[..., 4:])
    np.testing.assert_allclose(y[..., 1::2], branch, rtol=1e-6, atol=1e-6)


def test_shuffle_b_interleaves_two_branches_on_all_channels():
    x = jnp.asarray(np.random.default_rng(1).standard_normal(IMAGE), jnp.float32)
    y, variables = applied(ShuffleB(12), x)
    assert y.shape == (2, 4, 6, 12)
    branches = jax.jit(lambda x: ShuffleBBranches(12).apply(variables, x, False))(x)
    for index, branch in enumerate(branches):
        assert branch.shape == (2, 4, 6, 6)
        np.testing.assert_allclose(y[..., index::2], branch, rtol=1e-6, atol=1e-6)


def test_instance_norm_takes_an_images_own_light_off_a_share_of_the_channels():
    x = random(0, *IMAGE)
    norm = InstanceNorm(share=0.25)
    params = {"params": {"scale": jnp.array([2.0, 0.5]), "bias": jnp.array([1.0, -1.0])}}
    y = norm.apply(params, x)
    np.testing.assert_allclose(y[..., :2].mean((1, 2)), [[1.0, -1.0]] * 2, atol=1e-5)
    np.testing.assert_allclose(y[..., :2].std((1, 2)), [[2.0, 0.5]] * 2, rtol=1e-3)
    np.testing.assert_array_equal(y[..., 2:], x[..., 2:])
    lit = norm.apply(params, 3 * x - 1)  # another exposure
    np.testing.assert_allclose(lit[..., :2], y[..., :2], atol=1e-3)
    one = norm.apply(params, x[1:])  # no other image counts
    np.testing.assert_allclose(one[0], y[1], rtol=1e-6, atol=1e-6)
    assert InstanceNorm(share=0.25, relu=True).apply(params, x).min() == 0


@pytest.mark.parametrize(
    "unit",
    [
        ConvNorm(6),
        ConvNorm(6, 3, 2, use_bias=True),
        ConvNorm(6, relu=False, order=(2, 0, 3, 1)),
        ConvNorm(4, 3, depthwise=True, order=(2, 0, 3, 1)),
    ],
)
def test_fixed_statistics_give_the_same_on_every_platform(unit):
    x = random(0, 2, 8, 6, 4)
    variables = unit.init(jax.random.key(0), x, train=True)
    _, changed = unit.apply(variables, 3 + x, train=True, mutable=["batch_stats"])
    variables = {"params": variables["params"], **changed}

    def on(platform):
        with ops.traced_for(platform):
            return jax.jit(lambda v, x: unit.apply(v, x, train=False))(variables, x)

    expected = on(ops.ANY)
    assert np.any(expected)
    for platform in ("cpu", "gpu"):
        np.testing.assert_allclose(on(platform), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize(
    "unit", [ShuffleABranch((2, 0, 3, 1, 4, 7, 6, 5)), ShuffleB(12, 2, (1, 0, 2, 3, 7, 6, 5, 4))], ids=["a", "b"]
)
def test_a_units_values_statistics_and_gradients_are_the_plain_ones_on_every_platform(unit, platform):
    x = random(0, 3, 16, 8, 8)  # as many pixels as fill a row of a TPU
    with ops.traced_for(ops.ANY):
        variables = jax.jit(lambda x: unit.init(jax.random.key(0), x, True))(x)
    # No slope 1, no offset 0, and running statistics that are not the first ones.
    variables = jax.tree.map(lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape)), variables)

    def results(platform, train):
        def apply(params, x):
            y, changed = unit.apply(variables | {"params": params}, x, train, mutable=["batch_stats"])
            y = y if isinstance(y, jax.Array) else jnp.concatenate(y, -1)
            return jnp.sum(jnp.sin(3 * y)), (y, changed)

        with ops.traced_for(platform):
            return jax.jit(jax.grad(apply, (0, 1), has_aux=True))(variables["params"], x)

    for train in (True, False):
        expected = results(ops.ANY, train)
        jax.tree.map(
            lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-4),
            results(platform, train),
            expected,
        )


def test_a_bias_that_the_next_mean_takes_away_gets_no_gradient():
    x, unit = random(0, 3, 16, 8, 8), ShuffleABranch()
    variables = unit.init(jax.random.key(0), x, True)
    running = variables["batch_stats"]

    def moved(params):
        y, changed = unit.apply({"params": params, "batch_stats": running}, x, True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y)), changed["batch_stats"]["expand"]["norm"]["mean"]

    params = variables["params"]
    with ops.traced_for("cpu"):
        gradient, mean = jax.grad(moved, has_aux=True)(params)
        assert not np.any(gradient["depthwise"]["norm"]["bias"])
        raised = jax.tree.map(lambda leaf: leaf, params)
        raised["depthwise"]["norm"]["bias"] = jnp.full(8, 0.5)
        _, higher = jax.grad(moved, has_aux=True)(raised)
    # Of what it adds to the mean of the layer behind, a tenth moves the running one.
    kernel = params["expand"]["kernel"][0, 0]
    np.testing.assert_allclose(higher - mean, 0.1 * 0.5 * kernel.sum(0), rtol=1e-4, atol=1e-6)
