"""Chains without a shuffle against chains with one: the plan channel by channel, a stage with its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax.models.attention_network import Stage
from reid_jax.models.blocks import ShuffleA, ShuffleB, channel_shuffle
from reid_jax.models.chain import plan_chain


@pytest.mark.parametrize(("half", "units"), [(1, 1), (3, 0), (4, 2), (33, 2), (48, 11), (64, 7), (128, 10)])
def test_the_plan_reads_what_the_shuffles_would_hand_over(half, units):
    chain = plan_chain(half, units)
    made = np.arange((units + 2) * half, dtype=np.float32).reshape(units + 2, half)  # every channel is another number
    pieces = {}
    for number, (channels, order) in enumerate(zip(made, chain.writes, strict=True)):
        pieces |= chain.cut(number, channels[list(order)])
    x = np.asarray(channel_shuffle(made[0], made[1]))
    for read, channels in zip(chain.reads[:-1], made[2:], strict=True):
        np.testing.assert_array_equal(read.of(pieces), x[half:][list(read.channels)])
        x = np.asarray(channel_shuffle(x[:half], channels))
    np.testing.assert_array_equal(chain.reads[-1].of(pieces), x[list(chain.reads[-1].channels)])


def test_a_unit_reads_few_slices():
    assert max(len(read.slices) for read in plan_chain(128, 10).reads[:-1]) <= 9
    assert all(stop <= 128 for read in plan_chain(128, 10).reads for _, _, stop in read.slices)


def _plain_stage(variables, x, features, repeats, train):
    """The stage by its definition, with a shuffle after every unit: (output, statistics)."""
    statistics = {}

    def apply(module, name, x):
        of_module = {kind: tree[name] for kind, tree in variables.items()}
        y, changed = module.apply(of_module, x, train, mutable=["batch_stats"])
        statistics[name] = changed["batch_stats"]
        return y

    x = channel_shuffle(*apply(ShuffleB(features), "widen", x))
    for number in range(1, repeats + 1):
        kept, y = jnp.split(x, 2, -1)
        x = channel_shuffle(kept, apply(ShuffleA(), f"unit{number}", y))
    return channel_shuffle(*apply(ShuffleB(features, 2), "halve", x)), statistics


@functools.partial(jax.jit, static_argnums=0)
def _uneven_variables(stage, x):
    """Variables of which no two channels are alike: a wrong order hides behind scales of one and biases of zero."""
    leaves, tree = jax.tree.flatten(stage.init(jax.random.key(1), x, True))
    keys = jax.random.split(jax.random.key(2), len(leaves))
    return tree.unflatten(
        leaf + 0.3 * jax.random.uniform(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)
    )


@pytest.mark.parametrize("train", [True, False])
def test_a_stage_equals_its_definition_gradients_and_statistics_included(train):
    features, repeats = 24, 3
    stage = Stage("shuffle", features, repeats, jnp.float32)
    x = jax.random.normal(jax.random.key(0), (3, 6, 4, 10))
    variables = _uneven_variables(stage, x)
    weight = jax.random.normal(jax.random.key(3), (3, 3, 2, features))

    def fast(params):
        y, changed = stage.apply({**variables, "params": params}, x, train, mutable=["batch_stats"])
        return jnp.vdot(weight, y), (y, changed["batch_stats"])

    def plain(params):
        y, statistics = _plain_stage({**variables, "params": params}, x, features, repeats, train)
        return jnp.vdot(weight, y), (y, statistics)

    got = jax.jit(jax.grad(fast, has_aux=True))(variables["params"])
    want = jax.jit(jax.grad(plain, has_aux=True))(variables["params"])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1.0, float(jnp.max(jnp.abs(b)))))
    assert jax.tree.structure(got) == jax.tree.structure(want)
