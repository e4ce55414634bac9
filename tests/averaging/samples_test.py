"""Averages over sampled weights: descriptors and their spread against the definition, and what is refused."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.averaging.samples import average_items, evaluate_samples, sampled_encoders
from reid_jax.data.images import Split
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.evaluate import Protocol
from reid_jax.retrieval.aggregate import renormalise

STREAMS = (2, 3)


@dataclasses.dataclass(frozen=True)
class Turned:
    """A network whose weights move the colours of two pixels; the second stream may die, as after a ReLU."""

    streams = STREAMS

    def apply(self, variables, image, train):
        del train
        raw = jnp.concatenate([image[:, 0, 0, :2], image[:, -1, -1]], -1) + variables["params"]
        first, second = raw[:, :2], raw[:, 2:] * variables["batch_stats"]
        parts = [part / jnp.maximum(jnp.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in (first, second)]
        return types.SimpleNamespace(embedding=jnp.concatenate(parts, -1) / 2**0.5)


NETWORK = Turned()


def made(identity, seed, tracklet=None):
    n = len(identity)
    image = np.random.default_rng(seed).integers(0, 256, (n, 8, 4, 3), np.uint8)
    columns = [np.array(column, np.int32) for column in (identity, [seed] * n, tracklet or [-1] * n, [0] * n)]
    return Split(image, *columns, np.array([f"{seed}/{row}.jpg" for row in range(n)]))


def drawn(mesh, scale, alive=1.0, count=4):
    random = np.random.default_rng(3)
    return [
        Encoder(
            NETWORK,
            {"params": jnp.asarray(scale * random.standard_normal(5), jnp.float32), "batch_stats": jnp.float32(alive)},
            (8, 4),
            mesh,
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def mesh():
    return parallel.create_mesh()


@pytest.mark.parametrize("alive", [1.0, 0.0])
def test_descriptors_and_spread_are_those_of_the_definition(mesh, alive):
    split, samples = made(range(20), 0), drawn(mesh, 0.7, alive)
    ((items, spread),) = average_items(samples, [split], samples=4)
    each = np.stack([encoder.describe(split.image) for encoder in samples]).astype(np.float64)
    np.testing.assert_allclose(items.embedding, renormalise(each.mean(0), STREAMS), atol=1e-6)
    expected = np.sqrt(((each - each.mean(0)) ** 2).sum(2).mean(0))
    np.testing.assert_allclose(spread, expected, atol=1e-5)
    assert spread.dtype == np.float32
    assert (spread > 0.01).all()


def test_samples_that_agree_have_no_spread(mesh):
    ((_, one),) = average_items(drawn(mesh, 0.7, count=1), [made(range(5), 0)], samples=1)
    np.testing.assert_array_equal(one, 0)
    ((_, same),) = average_items(drawn(mesh, 0.0), [made(range(5), 0)], samples=4)
    np.testing.assert_allclose(same, 0, atol=1e-6)


def test_a_tracklet_has_one_spread(mesh):
    split = made([1, 1, 2], 0, tracklet=[0, 0, -1])
    ((items, spread),) = average_items(drawn(mesh, 0.7), [split], samples=4)
    assert len(items) == len(spread) == 2


def test_what_is_evaluated_is_the_averages(mesh):
    query, gallery = made([1, 2, 3], 0), made([1, 2, 3, 3], 1)
    (one, *_), (result, query_spread, gallery_spread) = evaluate_samples(
        iter(drawn(mesh, 0.3)), [(gallery, query), (query, gallery)], samples=4, protocol=Protocol(flip=True)
    )
    assert one.metrics["queries"] == 4
    assert (len(query_spread), len(gallery_spread)) == (3, 4)
    assert result.metrics["queries"] == 3
    assert result.protocol.flip
    np.testing.assert_allclose(np.linalg.norm(result.gallery.embedding, axis=1), 1, rtol=1e-5)


def test_no_samples_are_refused(mesh):
    with pytest.raises(InputError, match="0 samples"):
        next(sampled_encoders(NETWORK, None, np.zeros((2, 8, 4, 3), np.uint8), mesh, samples=0, augmentation=None))
