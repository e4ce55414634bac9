"""Each form of the mean against its windows taken one by one, gradients included."""

import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops import average_pooling


def windows_one_by_one(x):
    _, height, width, _ = x.shape
    padded, y = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), np.zeros_like(x)
    for p, q in np.ndindex(height, width):
        y[:, p, q] = padded[:, p : p + 3, q : q + 3].sum((1, 2)) / 9

    def gradients(cotangent):
        to_padded = np.zeros_like(padded)
        for p, q in np.ndindex(height, width):
            to_padded[:, p : p + 3, q : q + 3] += cotangent[:, p, q][:, None, None] / 9
        return (to_padded[:, 1:-1, 1:-1],)

    return y, gradients


@pytest.mark.parametrize("form", average_pooling.FORMS)
@pytest.mark.parametrize(("height", "width"), [(5, 6), (1, 2)])
def test_values_and_gradients(form, height, width):
    assert_same(average_pooling.FORMS[form], windows_one_by_one, random(9, 2, height, width, 3))
