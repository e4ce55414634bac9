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
    channel_shuffle,
)

IMAGE = (2, 4, 6, 8)


def applied(unit, x):
    return jax.jit(lambda x: unit.init_with_output(jax.random.key(0), x, False))(x)


def test_channel_shuffle_is_a_transposition_of_the_two_groups():
    first, second = np.arange(10.0).reshape(2, 5), 100 + np.arange(10.0).reshape(2, 5)
    joined = np.concatenate([first, second], -1)
    shuffled = joined.reshape(2, 2, 5).transpose(0, 2, 1).reshape(2, 10)  # ShuffleNet's: (groups, c) -> (c, groups)
    np.testing.assert_array_equal(channel_shuffle(first, second), shuffled)


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
