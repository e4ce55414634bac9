"""BatchNorm by groups of a batch: each group is normalised as if it were alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax.models.registry import create_network
from reid_jax.training.batch_groups import forward_in_groups
from reid_jax.training.state import init_variables

SIZE = (64, 32)
EACH = 8  # images of a group


@pytest.fixture(scope="module")
def network():
    return create_network("nano", 3, stem=4, widths=(16, 16, 16), repeats=(1, 0, 0), global_width=8, local_width=8)


@pytest.fixture(scope="module")
def variables(network):
    return init_variables(network, jax.random.key(0), SIZE)


@pytest.fixture(scope="module")
def image():
    """Three groups of images of noise, each group brighter and noisier than the one before.

    As many as keep a layer that sees one number an image from magnifying what rounding does to small differences.
    """
    noise = np.random.default_rng(0).normal(size=(3, EACH, *SIZE, 3))
    level = np.arange(3).reshape(3, 1, 1, 1, 1)
    return (noise * (level + 1) + level).reshape(3 * EACH, *SIZE, 3).astype(np.float32)


def forward(network, variables, image, groups):
    return jax.jit(lambda image: forward_in_groups(network, variables, image, groups))(image)


def close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, other)


def test_a_group_is_normalised_as_a_batch_of_its_own(network, variables, image):
    output, statistics = forward(network, variables, image, 3)
    alone = [forward(network, variables, image[row : row + EACH], 1) for row in range(0, 3 * EACH, EACH)]
    close(output, jax.tree.map(lambda *parts: jnp.concatenate(parts), *[output for output, _ in alone]))
    close(statistics, jax.tree.map(lambda *parts: sum(parts) / 3, *[statistics for _, statistics in alone]))
    whole, _ = forward(network, variables, image, 1)
    assert np.abs(whole.embedding - output.embedding).max() > 1e-2
