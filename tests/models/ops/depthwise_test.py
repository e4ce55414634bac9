"""Each form of the depth-wise convolution against loops over its windows, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops import depthwise
from reid_jax.models.ops.flat import LANES


def windows_one_by_one(stride):
    """The convolution and its gradients by the definition: each window times the kernel, added up; float64."""

    def reference(x, kernel):
        weights = kernel[:, :, 0]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
        places = [(p, q, slice(stride * p, stride * p + 3), slice(stride * q, stride * q + 3))
                  for p in range(rows) for q in range(columns)]  # fmt: skip
        y = np.zeros((len(x), rows, columns, x.shape[3]))
        for p, q, down, across in places:
            y[:, p, q] = (padded[:, down, across] * weights).sum((1, 2))

        def gradients(cotangent):
            to_padded, to_weights = np.zeros_like(padded), np.zeros_like(weights)
            for p, q, down, across in places:
                there = cotangent[:, p, q][:, None, None]
                to_padded[:, down, across] += there * weights
                to_weights += (padded[:, down, across] * there).sum(0)
            return to_padded[:, 1:-1, 1:-1], to_weights[:, :, None]

        return y, gradients

    return reference


@pytest.mark.parametrize("form", depthwise.FORMS)
@pytest.mark.parametrize(
    ("stride", "height", "width"),
    [
        (1, 16, 8),
        (2, 16, 8),
        (1, 8, 6),
        (1, 3, 1),
        (1, 11, 4),
        (1, 20, 3),
        (1, 9, 14),
        (1, 11, 11),
        (1, 128, 1),
        (2, 8, 6),
        (2, 6, 7),
        (2, 5, 5),
        (2, 1, 2),
        (2, 16, 12),
    ],
)
def test_values_and_gradients(form, stride, height, width):
    images = 4 if height * width % LANES else 32  # some of which are taken together
    x, kernel = random(0, images, height, width, 3), random(1, 3, 3, 1, 3)
    convolve = depthwise.FORMS[form]
    assert_same(lambda x, k: convolve(x, k, stride), windows_one_by_one(stride), x, kernel)
    expected, _ = windows_one_by_one(stride)(np.asarray(x), np.asarray(kernel))
    np.testing.assert_allclose(convolve(x, kernel, stride), expected, rtol=0, atol=1e-5)  # where no gradient is taken


@pytest.mark.parametrize("form", depthwise.FORMS)
def test_bfloat16_gradients_stay_bfloat16(form):
    x, kernel = random(7, 1, 16, 8, 4).astype(jnp.bfloat16), random(8, 3, 3, 1, 4).astype(jnp.bfloat16)

    def total(x, kernel):
        return jnp.sum(depthwise.FORMS[form](x, kernel, 1).astype(jnp.float32))

    assert [each.dtype for each in jax.grad(total, (0, 1))(x, kernel)] == [jnp.bfloat16] * 2
