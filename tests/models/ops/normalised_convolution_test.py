"""Each form of a convolution with fixed statistics behind it against its definition, gradients included."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models import ops
from reid_jax.models.ops.normalised_convolution import FORMS

forms = pytest.mark.parametrize("form", FORMS)


def applied(form, x, kernel, slope, offset, relu, convolve=ops.conv):
    y = convolve(x, kernel.astype(x.dtype))
    return FORMS[form](convolve, x, kernel, y, slope, offset, relu)


def definition(relu):
    """A 1x1 convolution, its result times the slope, plus the offset; in float64."""

    def reference(x, kernel, slope, offset):
        product = x @ kernel[0, 0]
        y = product * slope + offset

        def gradients(cotangent):
            to_y = np.where(y > 0, cotangent, 0) if relu else cotangent
            to_product = to_y * slope
            to_kernel = np.einsum("nhwi,nhwo->io", x, to_product)
            return (
                to_product @ kernel[0, 0].T,
                to_kernel[None, None],
                (to_y * product).sum((0, 1, 2)),
                to_y.sum((0, 1, 2)),
            )

        return np.maximum(y, 0) if relu else y, gradients

    return reference


@forms
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", [(5, 3), (16, 8)])
def test_values_and_gradients(form, size, relu):
    arrays = random(0, 2, *size, 4), random(1, 1, 1, 4, 6), random(2, 6), random(3, 6)
    assert_same(lambda *each: applied(form, *each, relu), definition(relu), *arrays)


@forms
@pytest.mark.parametrize(("convolve", "shape"), [(ops.conv, (3, 3, 4, 6)), (ops.depthwise_conv, (3, 3, 1, 4))])
def test_it_is_the_slope_and_offset_of_each_channel_that_goes_out(form, convolve, shape):
    x, kernel, slope, offset = random(0, 2, 6, 5, 4), random(1, *shape), random(2, shape[-1]), random(3, shape[-1])
    expected = np.asarray(convolve(x, kernel)) * np.asarray(slope) + np.asarray(offset)
    got = applied(form, x, kernel, slope, offset, False, convolve)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@forms
def test_bfloat16_is_rounded_like_the_result(form):
    x, kernel = random(0, 2, 6, 5, 32).astype(jnp.bfloat16), random(1, 1, 1, 32, 16)
    slope, offset = random(2, 16), 10 * random(3, 16)
    expected = np.asarray(x, np.float64) @ np.asarray(kernel[0, 0], np.float64) * np.asarray(slope) + np.asarray(offset)
    got = applied(form, x, kernel, slope, offset, False)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=0, atol=2**-7 * np.abs(expected).max())
