"""Each form of the 1x1 convolution against a sum over channels, gradients included."""

import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops import pointwise


def sum_over_channels(x, kernel):
    y = np.einsum("...i,io->...o", x, kernel)
    return y, lambda g: (np.einsum("...o,io->...i", g, kernel), np.einsum("nhwi,nhwo->io", x, g))


@pytest.mark.parametrize("form", pointwise.FORMS)
@pytest.mark.parametrize("size", [(5, 4), (16, 8)])
def test_values_and_gradients(form, size):
    assert_same(pointwise.FORMS[form], sum_over_channels, random(2, 3, *size, 6), random(3, 6, 8))
