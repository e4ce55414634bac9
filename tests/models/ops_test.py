"""Fast forms against their plain ones, gradients included; resizes and crops against independent sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from reid_jax.models import ops


def _random(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def _assert_same(fast, plain, *inputs, tolerance=1e-5):
    """Equal values and equal gradients of a nonlinear function of them, relative to the largest entry."""

    def gradients(function):
        return jax.grad(lambda *args: jnp.sum(jnp.sin(function(*args))), tuple(range(len(inputs))))(*inputs)

    pairs = [(fast(*inputs), plain(*inputs)), *zip(gradients(fast), gradients(plain), strict=True)]
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * float(jnp.max(jnp.abs(want))))


def _plain_conv(x, kernel, stride, groups=1):
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@pytest.fixture(params=["cpu", "cuda", "tpu"])
def form(request, monkeypatch):
    """The form that a platform takes where there are several: each computes the same on any of them.

    What is traced for one must not serve another, so the caches are emptied before and after.
    """

    def choose(*arguments, default, **forms):
        return forms.get(request.param, default)(*arguments)

    monkeypatch.setattr(lax, "platform_dependent", choose)
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


def test_each_platform_is_given_its_form(form, monkeypatch):
    taken = []
    for name in ("_depthwise_kernel_gradient", "_depthwise_kernel_gradient_in_runs"):
        monkeypatch.setattr(ops, name, _noting(getattr(ops, name), name, taken))
    x, kernel = _random(0, 3, 8, 6, 4), _random(1, 3, 3, 1, 4)
    jax.grad(lambda k: jnp.sum(ops.depthwise_conv(x, k)))(kernel)
    assert taken == ["_depthwise_kernel_gradient_in_runs" if form == "cuda" else "_depthwise_kernel_gradient"]


def _noting(function, name, taken):
    def noting(*arguments, **options):
        taken.append(name)
        return function(*arguments, **options)

    return noting


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("stride", "height", "width"),
    [(1, 8, 6), (1, 3, 1), (1, 11, 4), (1, 20, 3), (2, 8, 6), (2, 6, 7), (2, 5, 5), (2, 1, 2), (2, 16, 12)],
)
def test_depthwise_conv_equals_grouped_convolution(stride, height, width):
    x, kernel = _random(0, 3, height, width, 4), _random(1, 3, 3, 1, 4)
    _assert_same(lambda x, k: ops.depthwise_conv(x, k, stride), lambda x, k: _plain_conv(x, k, stride, 4), x, kernel)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("size", "stride", "height", "width"), [(3, 1, 8, 6), (3, 1, 1, 2), (3, 2, 8, 6), (3, 2, 6, 7), (5, 2, 5, 9)]
)
def test_conv_and_its_gradients_equal_convolution(size, stride, height, width):
    x, kernel = _random(0, 3, height, width, 4), _random(1, size, size, 4, 5)
    _assert_same(lambda x, k: ops.conv(x, k, stride), lambda x, k: _plain_conv(x, k, stride), x, kernel)


def test_pointwise_conv_equals_convolution():
    x, kernel = _random(2, 3, 5, 4, 6), _random(3, 1, 1, 6, 8)
    _assert_same(lambda x, k: ops.conv(x, k), lambda x, k: _plain_conv(x, k, 1), x, kernel)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 4, 4, 6), (9, 6)])
def test_batch_norm_equals_its_definition(relu, shape):
    def plain(x, scale, bias):
        axes = tuple(range(x.ndim - 1))
        y = (x - jnp.mean(x, axes)) / jnp.sqrt(jnp.var(x, axes) + 1e-5) * scale + bias
        return jnp.maximum(y, 0) if relu else y

    x, scale, bias = 2 + 3 * _random(4, *shape), _random(5, 6), _random(6, 6)
    _assert_same(lambda x, s, b: ops.batch_norm(x, s, b, relu, 1e-5)[0], plain, x, scale, bias, tolerance=5e-5)
    _, mean, variance = ops.batch_norm(x, scale, bias, relu, 1e-5)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(mean, np.mean(x, axes), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(x, axes), rtol=1e-4)


def test_batch_norm_of_a_constant_channel_is_its_bias():
    y, _, variance = ops.batch_norm(jnp.full((8, 2), 1e3), jnp.ones(2), jnp.array([1.0, -1.0]), False, 1e-5)
    assert np.all(variance >= 0)
    np.testing.assert_allclose(y[0], [1, -1], atol=1e-2)


def test_bfloat16_inputs_keep_float32_statistics_and_gradients():
    x = (100 + _random(7, 64, 8, 4)).astype(jnp.bfloat16)
    y, mean, variance = ops.batch_norm(x, jnp.ones(4), jnp.zeros(4), False, 1e-5)
    assert y.dtype == jnp.bfloat16
    assert mean.dtype == variance.dtype == jnp.float32
    np.testing.assert_allclose(mean, np.mean(np.asarray(x, np.float32), (0, 1)), rtol=1e-5)
    kernel = _random(8, 3, 3, 1, 4).astype(jnp.bfloat16)
    gradient = jax.grad(lambda k: jnp.sum(ops.depthwise_conv(x[None], k, 1).astype(jnp.float32)))(kernel)
    assert gradient.dtype == jnp.bfloat16


def test_pools_equal_windows_taken_one_by_one():
    x = np.asarray(_random(9, 2, 5, 6, 3))
    padded_low = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    padded_zero = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    maxima, means = ops.max_pool(jnp.asarray(x)), ops.average_pool(jnp.asarray(x))
    assert maxima.shape == (2, 3, 3, 3)
    assert means.shape == x.shape
    for i in range(3):
        for j in range(3):
            window = padded_low[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            np.testing.assert_allclose(maxima[:, i, j], window.max((1, 2)))
    for i in range(5):
        for j in range(6):
            window = padded_zero[:, i : i + 3, j : j + 3]
            np.testing.assert_allclose(means[:, i, j], window.sum((1, 2)) / 9, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 7), (1, 2)])
def test_the_first_of_equal_maxima_gets_the_gradient(height, width):
    def plain(x):
        padded = lax.pad(x, -jnp.inf, ((0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 0, 0)))
        return lax.reduce_window(padded, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")

    x = jnp.round(_random(12, 2, height, width, 3))  # many are equal
    _assert_same(ops.max_pool, plain, x)


def _sample(image, rows, columns):
    """Bilinear samples of image [h, w, c] at pixel positions, zero outside, by the four neighbours."""
    height, width, _ = image.shape
    out = np.zeros((len(rows), len(columns), image.shape[2]))
    for a, row in enumerate(rows):
        for b, column in enumerate(columns):
            for i in (int(np.floor(row)), int(np.floor(row)) + 1):
                for j in (int(np.floor(column)), int(np.floor(column)) + 1):
                    if 0 <= i < height and 0 <= j < width:
                        out[a, b] += (1 - abs(row - i)) * (1 - abs(column - j)) * image[i, j]
    return out


def test_resize_aligns_corners():
    image = np.asarray(_random(10, 1, 5, 4, 2))
    got = ops.resize(jnp.asarray(image), 10, 8)[0]
    want = _sample(image[0], np.linspace(0, 4, 10), np.linspace(0, 3, 8))
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_array_equal(got[-1, -1], image[0, -1, -1])


@pytest.mark.parametrize("align_corners", [True, False])
def test_crop_equals_sampling_theta_then_resizing(align_corners):
    image = np.asarray(_random(11, 2, 20, 8, 3))
    centres = np.array([[[0.1, -0.6], [0.0, 0.9]], [[-0.3, 0.0], [0.7, 0.2]]], np.float32)
    got = ops.crop_regions(jnp.asarray(image), jnp.asarray(centres), 6, 7, 0.25, align_corners)
    got = got.reshape(2, 2, 6, 7, 3)

    def positions(size, scale, centre):
        if align_corners:
            return (scale * np.linspace(-1, 1, size) + centre + 1) / 2 * (size - 1)
        grid = (2 * np.arange(size) + 1) / size - 1
        return ((scale * grid + centre + 1) * size - 1) / 2

    for n in range(2):
        for region in range(2):
            tx, ty = centres[n, region]
            cropped = _sample(image[n], positions(20, 0.25, ty), positions(8, 1.0, tx))
            want = _sample(cropped, np.linspace(0, 19, 6), np.linspace(0, 7, 7))
            np.testing.assert_allclose(got[n, region], want, atol=1e-5)


def test_gradients_reach_the_region_centres():
    ramp = jnp.broadcast_to(jnp.arange(20.0)[:, None, None], (1, 20, 8, 1))
    centres = jnp.array([[[0.0, 0.1]]])
    gradient = jax.grad(lambda c: jnp.mean(ops.crop_regions(ramp, c, 6, 7)[:, :, 3]))(centres)
    # Moving the centre by 1 moves the samples by half the height, (20 - 1) / 2 pixels of a ramp of slope 1.
    np.testing.assert_allclose(gradient[0, 0, 1], 9.5, rtol=1e-4)


def test_l2_normalise_of_a_zero_row_has_finite_gradients():
    x = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(ops.l2_normalise(x), [[0, 0], [0.6, 0.8]], rtol=1e-6)
    assert np.all(np.isfinite(jax.grad(lambda x: jnp.sum(ops.l2_normalise(x)))(x)))


def test_keep_gradient_changes_neither_value_nor_gradient():
    x, weight = _random(21, 3, 4), _random(22, 3, 4)
    _assert_same(lambda x: ops.keep_gradient(x) * weight, lambda x: x * weight, x)


@pytest.mark.parametrize("axis", [0, -1])
def test_permute_and_its_gradient_equal_indexing(axis):
    x, order = _random(20, 5, 4, 5), (3, 0, 4, 1, 2)
    _assert_same(
        lambda x: ops.permute(x, order, axis),
        lambda x: jnp.moveaxis(jnp.moveaxis(x, axis, 0)[jnp.array(order)], 0, axis),
        x,
    )
