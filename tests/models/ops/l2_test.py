"""L2 normalisation."""

import jax
import jax.numpy as jnp
import numpy as np

from reid_jax.models import ops


def test_a_zero_row_stays_zero_with_finite_gradients():
    x = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(ops.l2_normalise(x), [[0, 0], [0.6, 0.8]], rtol=1e-6)
    assert np.all(np.isfinite(jax.grad(lambda x: jnp.sum(ops.l2_normalise(x)))(x)))
