"""Each form of cutting channels apart, gradients included."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops.splitting import FORMS

WIDTHS = (2, 1, 4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(5, 3), (16, 8), ()])
def test_values_and_gradients(form, size):
    factors = 1.0, -2.0, 3.0

    def weighed(x):
        pieces = FORMS[form](x, WIDTHS)
        assert [piece.shape for piece in pieces] == [(3, *size, width) for width in WIDTHS]
        return jnp.concatenate([factor * piece for factor, piece in zip(factors, pieces, strict=True)], -1)

    def reference(x):
        weights = np.repeat(factors, WIDTHS)
        return weights * x, lambda gradient: (weights * gradient,)

    assert_same(weighed, reference, random(0, 3, *size, sum(WIDTHS)))
