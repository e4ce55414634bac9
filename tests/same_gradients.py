"""Comparing an array operation with a reference: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np


def random(seed, *shape):
    """Standard normal numbers, a float32 array."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def assert_same(operation, reference, *inputs, tolerance=1e-5):
    """Equal values and equal gradients of a nonlinear function of them, relative to the largest entry.

    `reference(*inputs)` returns the value and `gradients(cotangent)`, a tuple with one for each input, in NumPy.
    """

    @jax.jit
    def with_gradients(*inputs):
        y, pull_back = jax.vjp(operation, *inputs)
        return y, pull_back(jnp.cos(y))

    y, got_gradients = with_gradients(*inputs)
    expected, gradients = reference(*(np.asarray(each, np.float64) for each in inputs))
    pairs = [(y, expected), *zip(got_gradients, gradients(np.cos(expected)), strict=True)]
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.max(np.abs(want)))
