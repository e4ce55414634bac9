"""Chains without a shuffle against stacks of plain shuffle units: channel by channel, and with their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax.models import ops
from reid_jax.models.attention_network import Stage
from reid_jax.models.blocks import ShuffleA, ShuffleB
from reid_jax.models.chain import chain_layout


@pytest.mark.parametrize(("half", "units"), [(1, 1), (3, 0), (4, 2), (33, 2), (48, 11), (64, 7), (128, 10)])
def test_each_unit_reads_what_the_shuffles_would_hand_over(half, units):
    layout = chain_layout(half, units)
    made = np.arange((units + 2) * half, dtype=np.float32).reshape(units + 2, half)  # every channel is another number
    pieces = {}
    for index, channels in enumerate(made):
        pieces |= layout.cut(index, channels)
    x = np.asarray(ops.interleave(made[0], made[1]))
    for unit_input, channels in zip(layout.inputs[:-1], made[2:], strict=True):
        np.testing.assert_array_equal(unit_input.concatenated(pieces), x[half:][list(unit_input.order)])
        x = np.asarray(ops.interleave(x[:half], channels))
    np.testing.assert_array_equal(layout.inputs[-1].concatenated(pieces), x[list(layout.inputs[-1].order)])


def test_eight_channels_through_two_units_are_those_of_the_drawing():
    letters = "abcd"
    read = [
        [letters[output] + str(channel) for output, start, stop in each.slices for channel in range(start, stop)]
        for each in chain_layout(4, 2).inputs
    ]
    assert read == [
        ["a2", "a3", "b2", "b3"],
        ["a1", "b1", "c2", "c3"],
        ["a0", "b0", "c0", "c1", "d0", "d1", "d2", "d3"],
    ]


@pytest.mark.parametrize(("half", "units"), [(33, 2), (48, 11), (128, 10)])
def test_a_unit_reads_one_slice_of_an_output(half, units):
    for read in chain_layout(half, units).inputs:
        outputs = [output for output, *_ in read.slices]
        assert len(set(outputs)) == len(outputs)
        assert all(0 <= start < stop <= half for _, start, stop in read.slices)


def _stack(variables, x, features, repeats, train):
    """The stage as a stack of the plain units, on the same variables: (output, statistics)."""
    units = {"widen": ShuffleB(features)}
    units |= {f"unit{index}": ShuffleA() for index in range(1, repeats + 1)}
    units |= {"halve": ShuffleB(features, 2)}
    statistics = {}
    for name, unit in units.items():
        of_unit = {kind: tree[name] for kind, tree in variables.items()}
        x, changed = unit.apply(of_unit, x, train, mutable=["batch_stats"])
        statistics[name] = changed["batch_stats"]
    return x, statistics


@functools.partial(jax.jit, static_argnums=0)
def _uneven_variables(stage, x):
    """Variables of which no two channels are alike: a wrong order hides behind scales of one and biases of zero."""
    leaves, tree = jax.tree.flatten(stage.init(jax.random.key(1), x, True))
    keys = jax.random.split(jax.random.key(2), len(leaves))
    return tree.unflatten(
        leaf + 0.3 * jax.random.uniform(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)
    )


@pytest.mark.parametrize("train", [True, False])
def test_a_stage_equals_a_stack_of_plain_units_gradients_and_statistics_included(train):
    features, repeats = 24, 3
    stage = Stage("shuffle", features, repeats, jnp.float32)
    x = jax.random.normal(jax.random.key(0), (3, 6, 4, 10))
    variables = _uneven_variables(stage, x)
    weight = jax.random.normal(jax.random.key(3), (3, 3, 2, features))

    def chained(params):
        y, changed = stage.apply({**variables, "params": params}, x, train, mutable=["batch_stats"])
        return jnp.vdot(weight, y), (y, changed["batch_stats"])

    def stacked(params):
        y, statistics = _stack({**variables, "params": params}, x, features, repeats, train)
        return jnp.vdot(weight, y), (y, statistics)

    got = jax.jit(jax.grad(chained, has_aux=True))(variables["params"])
    want = jax.jit(jax.grad(stacked, has_aux=True))(variables["params"])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1.0, float(jnp.max(jnp.abs(b)))))
    assert jax.tree.structure(got) == jax.tree.structure(want)
