"""A computation split at its first arguments: the same results, and each part without the other's work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun

from reid_jax.models import ops
from reid_jax.models.blocks import ShuffleABranch
from reid_jax.split_computation import split

KERNEL, SCALE, X = jnp.arange(12.0).reshape(3, 4), jnp.arange(1.0, 5.0), jnp.ones((2, 3))
TABLE = np.float32([3, 2, 1, 0])


def primitives(part):
    return [each.primitive.name for each in part.eqns]


def in_two(function, first, *others):
    traced = jax.jit(function).trace(first, *others).jaxpr
    ahead, rest = split(traced, len(jax.tree.leaves(first)))
    handed = jaxpr_as_fun(ahead)(*jax.tree.leaves(first))
    for one, other in zip(jaxpr_as_fun(rest)(*handed, *others), jaxpr_as_fun(traced)(first, *others), strict=True):
        np.testing.assert_array_equal(one, other)
    return ahead, rest


def test_what_the_first_arguments_decide_is_computed_ahead():
    ahead, rest = in_two(lambda weights, x: jnp.sin(x) @ jnp.exp(weights * 2), KERNEL, X)
    assert primitives(ahead) == ["mul", "exp"]
    assert primitives(rest) == ["sin", "dot_general"]


def test_the_same_trace_gives_the_same_parts():
    function = jax.jit(lambda weights, x: x @ jnp.exp(weights))
    assert split(function.trace(KERNEL, X).jaxpr, 1) is split(function.trace(KERNEL + 1, X).jaxpr, 1)


def test_constants_serve_both_parts_and_stay_out_where_they_do_not():
    ahead, rest = in_two(lambda scale, x: x[:, :1] * TABLE + scale * TABLE, SCALE, X)
    assert len(ahead.consts) == len(rest.consts) == 1
    ahead, rest = in_two(lambda scale, x: x[:, :1] + scale * TABLE, SCALE, X)
    assert (len(ahead.consts), len(rest.consts)) == (1, 0)


def test_what_no_argument_decides_is_left_to_the_rest():
    ahead, rest = in_two(lambda scale, x: x * jnp.arange(3.0) + scale.sum(), SCALE, X)
    assert "iota" not in primitives(ahead)
    assert "iota" in primitives(rest)


def test_a_small_array_is_handed_over_before_it_is_broadcast():
    ahead, rest = in_two(lambda scale, x: x[:, :1] + jnp.broadcast_to(jnp.exp(scale), (2, 4)), SCALE, X)
    assert [each.shape for each in ahead.out_avals] == [(4,)]
    assert "broadcast_in_dim" in primitives(rest)


def test_what_nothing_reads_is_in_neither_part():
    def function(weights, x):
        jnp.cos(x) @ jnp.exp(weights)
        return x + 1

    ahead, rest = in_two(function, KERNEL, X)
    assert not ahead.eqns
    assert not ahead.out_avals
    assert primitives(rest) == ["add"]


def test_results_that_depend_on_the_first_arguments_alone_and_on_nothing():
    ahead, _ = in_two(lambda weights, x: (jnp.exp(weights), x, weights, 3.0), KERNEL, X)
    assert primitives(ahead) == ["exp"]


def test_effects_happen_each_time(capfd):
    def function(scale, x):
        jax.debug.print("seen {}", scale[0])
        return x + jnp.exp(scale[0])

    traced = jax.jit(function).trace(SCALE, X).jaxpr
    ahead, rest = split(traced, 1)
    assert not ahead.effects
    for _ in range(2):
        jax.block_until_ready(jaxpr_as_fun(rest)(*jaxpr_as_fun(ahead)(SCALE), X))
    jax.effects_barrier()
    assert capfd.readouterr().out.count("seen 1.0") == 2


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_of_a_block_nothing_is_left_that_its_weights_decide(platform):
    block = ShuffleABranch(order=(2, 0, 3, 1), dtype=jnp.bfloat16)
    x = jax.ShapeDtypeStruct((2, 6, 5, 4), jnp.float32)
    variables = jax.eval_shape(lambda: block.init(jax.random.key(0), jnp.zeros(x.shape), True))
    with ops.traced_for(platform):
        traced = jax.jit(lambda variables, x: block.apply(variables, x, False)).trace(variables, x).jaxpr
    ahead, rest = split(traced, len(jax.tree.leaves(variables)))
    assert "rsqrt" in primitives(ahead)
    again, _ = split(rest, len(ahead.out_avals))
    assert not again.eqns
