"""The forward pass: descriptors by the definition, weights placed once, and what is refused."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.data.augment import MEAN, STD
from reid_jax.describe import Encoder, describe, prepare
from reid_jax.errors import InputError
from reid_jax.retrieval.aggregate import renormalise

STREAMS = (2, 3)
SIZE = (8, 4)


@dataclasses.dataclass(frozen=True)
class Corners:
    """The descriptor is made of two corners' colours, moved by the weights, so that mirror images differ."""

    streams = STREAMS

    def apply(self, variables, image, train):
        assert not train
        raw = jnp.concatenate([image[:, 0, 0, :2], image[:, -1, -1]], -1) + variables["params"]["shift"]
        first, second = raw[:, :2], raw[:, 2:] * variables["batch_stats"]["scale"]
        parts = [part / jnp.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)]
        return types.SimpleNamespace(embedding=jnp.concatenate(parts, -1) / 2**0.5)


NETWORK = Corners()
VARIABLES = {
    "params": {"shift": np.linspace(-0.1, 0.1, 5).astype(np.float32)},
    "batch_stats": {"scale": np.float32([2.0])},
    "swag": {},  # what else a file may hold is left out
}


def made(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), np.uint8)


def by_hand(image):
    """The descriptors by the definition, float64."""
    pixels = (image / 255 - MEAN) / STD
    raw = np.concatenate([pixels[:, 0, 0, :2], pixels[:, -1, -1]], -1) + VARIABLES["params"]["shift"]
    first, second = raw[:, :2], raw[:, 2:] * 2
    return np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)], 1) / 2**0.5


@pytest.fixture(scope="module")
def encoder():
    return Encoder(NETWORK, VARIABLES, SIZE, parallel.create_mesh())


def test_describe_is_pure_and_may_be_jitted():
    image = made(5)
    eager = describe(NETWORK, VARIABLES, image)
    assert eager.dtype == jnp.float32
    np.testing.assert_allclose(eager, by_hand(image), atol=1e-5)
    jitted = jax.jit(describe, static_argnums=0)(NETWORK, {key: VARIABLES[key] for key in VARIABLES}, image)
    np.testing.assert_allclose(jitted, eager, atol=1e-6)


@pytest.mark.parametrize("count", [1, 8, 9, 257])
def test_an_encoder_gives_the_same_for_any_number_of_images(encoder, count):
    image = made(count)
    embedding = encoder.describe(image)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, by_hand(image), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)


def test_blocks_are_described_in_their_order(encoder):
    image = made(30)
    blocks = (image[start : start + 7] for start in range(0, 30, 7))
    np.testing.assert_array_equal(encoder.describe_blocks(blocks), encoder.describe(image))


def test_flip_averages_both_sides_per_stream(encoder):
    image = made(20)
    expected = renormalise(by_hand(image) + by_hand(image[:, :, ::-1]), STREAMS)
    np.testing.assert_allclose(encoder.describe(image, flip=True), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.describe(image[:, :, ::-1], flip=True), expected, atol=1e-5)


def test_no_images_give_no_descriptors(encoder):
    assert encoder.describe(np.zeros((0, *SIZE, 3), np.uint8)).shape == (0, 5)
    assert encoder.describe_blocks([]).shape == (0, 5)
    assert (encoder.dimensions, encoder.streams) == (5, STREAMS)


def test_what_the_weights_decide_is_computed_once(encoder, monkeypatch):
    computed = []
    monkeypatch.setattr("reid_jax.describe.prepare", lambda *given: computed.append(given) or prepare(*given))
    again = dataclasses.replace(encoder)
    for count, flip in ((20, False), (300, False), (20, True)):
        np.testing.assert_array_equal(again.describe(made(count), flip), encoder.describe(made(count), flip))
    assert len(computed) == 1
    other = dataclasses.replace(encoder, variables=jax.tree.map(lambda leaf: leaf + 1, encoder.variables))
    assert np.abs(other.describe(made(20)) - again.describe(made(20))).max() > 0.01
    assert len(computed) == 2


def test_weights_are_placed_once_and_no_dispatch_copies_them(encoder):
    image = made(300)
    embedding = encoder.describe(image)  # compiled
    with jax.transfer_guard_host_to_device("disallow"):
        np.testing.assert_array_equal(encoder.describe(image), embedding)
        # What the guard is there for: the same weights as they come from a file.
        placed = encoder.variables
        object.__setattr__(encoder, "variables", {key: VARIABLES[key] for key in placed})
        encoder._prepared.clear()
        try:
            with pytest.raises(Exception, match="host-to-device"):
                encoder.describe(image)
        finally:
            object.__setattr__(encoder, "variables", placed)
    again = dataclasses.replace(encoder)
    for one, other in zip(jax.tree.leaves(again.variables), jax.tree.leaves(encoder.variables), strict=True):
        assert one is other
        assert one.is_fully_replicated
        assert one.sharding.device_set == set(encoder.mesh.devices.flat)


@pytest.mark.parametrize(
    "image", [np.zeros((2, 8, 4, 3)), np.zeros((8, 4, 3), np.uint8), np.zeros((2, 3, 8, 4), np.uint8)]
)
def test_images_of_another_kind_are_refused(encoder, image):
    with pytest.raises(InputError, match=r"give uint8 \[n, h, w, 3\]"):
        encoder.describe(image)


def test_images_of_another_size_are_refused(encoder):
    with pytest.raises(InputError, match=r"images have 4x8 pixels .* trained with 8x4; resize them"):
        encoder.describe(np.zeros((2, 4, 8, 3), np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_descriptors_that_are_not_finite_are_counted(encoder, value):
    embedding = jnp.ones((4, 3)).at[1, 2].set(value).at[3].set(value)  # the last row only fills the batch
    assert encoder._collect(1, embedding, False).shape == (1, 3)
    with pytest.raises(InputError, match="1 of 3 descriptors are not finite"):
        encoder._collect(3, embedding, False)
