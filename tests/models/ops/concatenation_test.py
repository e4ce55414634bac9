"""Each form of a concatenation of channels, gradients included."""

import jax.numpy as jnp
import numpy as np
import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops.concatenation import FORMS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(5, 3), (16, 8), ()])
def test_values_and_gradients(form, size):
    def reference(x, y):
        return np.concatenate([x, y], -1), lambda gradient: np.split(gradient, [2], -1)

    assert_same(lambda *arrays: FORMS[form](arrays), reference, random(0, 3, *size, 2), random(1, 3, *size, 5))


@pytest.mark.parametrize("form", FORMS)
def test_the_dtype_stays(form):
    assert FORMS[form]([jnp.ones((1, 16, 8, 2), jnp.bfloat16)] * 2).dtype == jnp.bfloat16
