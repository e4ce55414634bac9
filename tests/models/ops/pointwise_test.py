"""Each form of the 1x1 convolution against a sum over channels, gradients included."""

import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops import pointwise


def sum_over_channels(x, kernel):
    y = np.einsum("...i,io->...o", x, kernel)
    return y, lambda g: (np.einsum("...o,io->...i", g, kernel), np.einsum("nhwi,nhwo->io", x, g))


@pytest.mark.parametrize("form", pointwise.FORMS)
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (3, 16, 8, 6), (4, 16, 8, 6)])
def test_values_and_gradients(form, shape):
    assert_same(pointwise.FORMS[form], sum_over_channels, random(2, *shape), random(3, 6, 8))
