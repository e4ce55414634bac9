"""A permutation and its gradient against indexing."""

import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models import ops


@pytest.mark.parametrize("axis", [0, -1])
def test_values_and_gradients_equal_indexing(axis):
    order = (3, 0, 4, 1, 2)

    def by_index(x):
        def gradients(cotangent):
            to_x = np.zeros_like(x)
            np.moveaxis(to_x, axis, 0)[list(order)] = np.moveaxis(cotangent, axis, 0)
            return (to_x,)

        return np.moveaxis(np.moveaxis(x, axis, 0)[list(order)], 0, axis), gradients

    assert_same(lambda x: ops.permute(x, order, axis), by_index, random(20, 5, 4, 5))
