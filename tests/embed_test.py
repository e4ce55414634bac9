"""Descriptors that are no numbers never leave."""

import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.embed import _collect
from reid_jax.errors import InputError


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_descriptors_that_are_not_finite_are_counted(number):
    embedding = jnp.ones((4, 3)).at[1, 2].set(number).at[3].set(number)  # the last row only fills the batch
    mesh = parallel.create_mesh()
    assert _collect(None, mesh, 1, embedding, False).shape == (1, 3)
    with pytest.raises(InputError, match="1 of 3 descriptors are not finite"):
        _collect(None, mesh, 3, embedding, False)
