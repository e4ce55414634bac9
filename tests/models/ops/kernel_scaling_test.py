"""A slope and an offset in front of a 1x1 convolution: each form against the definition, gradients included."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models import ops
from reid_jax.models.ops.kernel_scaling import FORMS

forms = pytest.mark.parametrize("form", FORMS)


def definition(x, slope, offset, kernel):
    scaled, matrix = slope * x + offset, kernel[0, 0]

    def gradients(cotangent):
        to_scaled = cotangent @ matrix.T
        axes = tuple(range(x.ndim - 1))
        return (
            to_scaled * slope,
            (to_scaled * x).sum(axes),
            to_scaled.sum(axes),
            np.einsum("nhwi,nhwo->io", scaled, cotangent)[None, None],
        )

    return scaled @ matrix, gradients


@forms
def test_the_convolution_and_the_shift_are_the_scaled_maps_gradients_included(form):
    def convolved(*arrays):
        x, kernel, shift = FORMS[form](*arrays)
        return ops.conv(x, kernel) + (0 if shift is None else shift)

    assert_same(convolved, definition, random(0, 2, 5, 3, 4), random(1, 4), random(2, 4), random(3, 1, 1, 4, 6))


@forms
def test_the_kernel_and_the_shift_stay_float32_beside_a_narrower_map(form):
    arrays = random(0, 2, 5, 3, 4).astype(jnp.bfloat16), random(1, 4), random(2, 4), random(3, 1, 1, 4, 6)
    x, kernel, shift = FORMS[form](*arrays)
    assert x.dtype == jnp.bfloat16
    assert kernel.dtype == jnp.float32
    assert shift is None or shift.dtype == jnp.float32
