"""Each form of the convolution against loops over its windows, gradients included."""

import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models import ops
from reid_jax.models.ops import convolution


def windows_one_by_one(stride):
    """Convolution and its gradients by the definition: each window times the kernel, added up; float64."""

    def reference(x, kernel):
        size = kernel.shape[0]
        pad = (size - 1) // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
        places = [(p, q, slice(stride * p, stride * p + size), slice(stride * q, stride * q + size))
                  for p in range(rows) for q in range(columns)]  # fmt: skip
        y = np.zeros((len(x), rows, columns, kernel.shape[3]))
        for p, q, down, across in places:
            y[:, p, q] = np.tensordot(padded[:, down, across], kernel, 3)

        def gradients(cotangent):
            to_padded, to_kernel = np.zeros_like(padded), np.zeros_like(kernel)
            for p, q, down, across in places:
                to_padded[:, down, across] += np.tensordot(cotangent[:, p, q], kernel, ((1,), (3,)))
                to_kernel += np.tensordot(padded[:, down, across], cotangent[:, p, q], ((0,), (0,)))
            return to_padded[:, pad : pad + x.shape[1], pad : pad + x.shape[2]], to_kernel

        return y, gradients

    return reference


SIZES = [
    (3, 1, 16, 8),
    (3, 2, 32, 16),
    (3, 1, 8, 6),
    (3, 1, 1, 2),
    (3, 2, 8, 6),
    (3, 2, 6, 7),
    (3, 2, 1, 2),
    (5, 2, 5, 9),
    (1, 2, 5, 4),
]


@pytest.mark.parametrize("form", convolution.FORMS)
@pytest.mark.parametrize(("size", "stride", "height", "width"), SIZES)
def test_values_and_gradients(form, size, stride, height, width):
    x, kernel = random(0, 3, height, width, 4), random(1, size, size, 4, 5)
    convolve = convolution.FORMS[form]
    assert_same(lambda x, k: convolve(x, k, stride), windows_one_by_one(stride), x, kernel)


def test_one_by_one_kernels_are_pointwise_convolutions():
    x, kernel = random(2, 3, 5, 4, 6), random(3, 1, 1, 6, 8)
    assert_same(ops.conv, windows_one_by_one(1), x, kernel)
