"""GeM against float64, value and gradients, where powers would leave float32; how its exponents are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax.models.pooling import GeM, Pooling, gem_exponents

CHANNELS = 12


def reference(x, p, cotangent):
    """Value [n, c] and gradients to x and, by channel, to p; float64, by logarithms."""
    x = np.maximum(x.astype(np.float64), 1e-6)
    log = np.log(x)
    most = log.max((1, 2)) if p > 0 else log.min((1, 2))
    power = np.exp(p * (log - most[:, None, None]))
    mean = power.mean((1, 2))
    y = np.exp(most) * mean ** (1 / p)
    to_x = np.exp((p - 1) * (log - np.log(y)[:, None, None])) / (x.shape[1] * x.shape[2])
    to_x = np.where(x > 1e-6, to_x, 0) * cotangent[:, None, None]
    to_p = y * ((power * (log - most[:, None, None])).mean((1, 2)) / mean - np.log(mean) / p) / p
    return y, to_x, (to_p * cotangent).sum(0)


def maps(scale):
    """Feature maps [3, 10, 4, c] of a trained network's kind: mostly zero, one channel in three dead in every image."""
    random = np.random.default_rng(0)
    x = random.standard_normal((3, 10, 4, CHANNELS)) * (random.random((3, 10, 4, CHANNELS)) > 0.6)
    x[..., ::3] = 0
    x[0, ..., 1] = 0  # dead in one image
    x[1, ..., 2] = 2.5  # the same everywhere
    x[2, 3, 2, 4] = 60  # one place far above the others
    return (scale * np.maximum(x, 0)).astype(np.float32), random.standard_normal((3, CHANNELS)).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-5])
@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 8.0, 30.0, 100.0, -8.0])
def test_value_and_gradients_are_those_of_float64(p, scale):
    x, cotangent = maps(scale)
    y, pull = jax.vjp(lambda p, x: GeM(per_channel=True).apply({"params": {"p": p}}, x), jnp.full(CHANNELS, p), x)
    to_p, to_x = pull(jnp.asarray(cotangent))
    for name, ours, theirs in zip(("value", "to x", "to p"), (y, to_x, to_p), reference(x, p, cotangent), strict=True):
        atol = 1e-4 * np.abs(theirs).max() if name != "value" else 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol, err_msg=name)


def test_an_exponent_of_one_is_the_mean_and_a_large_one_the_maximum():
    x, _ = maps(1.0)
    mean, largest = (GeM().apply({"params": {"p": jnp.array([p])}}, x) for p in (1.0, 1e4))
    np.testing.assert_allclose(mean, np.maximum(x, 1e-6).mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(largest, np.maximum(x, 1e-6).max((1, 2)), rtol=1e-3)


def test_bfloat16_maps_are_pooled_in_float32():
    x = jnp.asarray(maps(1.0)[0], jnp.bfloat16)
    parameters = {"params": {"p": jnp.array([3.0])}}
    pooled = GeM().apply(parameters, x)
    assert pooled.dtype == jnp.float32
    np.testing.assert_array_equal(pooled, GeM().apply(parameters, x.astype(jnp.float32)))


def test_exponents_are_found_by_their_paths_and_a_channels_are_averaged():
    params = {
        "pool_global": {"gem": {"p": jnp.array([3.0])}},
        "pool_local": {"gem": {"p": jnp.array([2.0, 5.0])}},
        "pool": {"gem": {"p": jnp.array([4.0])}},
        "head": {"pool": {"gem": {"p": jnp.array([6.0])}}, "norm": {"scale": jnp.ones(3)}},
    }
    exponents = {name: float(p) for name, p in gem_exponents(params).items()}
    assert exponents == {"gem_p": 4.0, "gem_p_global": 3.0, "gem_p_local": 3.5, "gem_p_head": 6.0}


def test_other_poolings_have_none():
    variables = Pooling("average_max").init(jax.random.key(0), jnp.ones((1, 4, 2, 3)))
    assert gem_exponents(variables.get("params", {})) == {}
