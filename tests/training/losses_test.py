import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from reid_jax.errors import InputError
from reid_jax.training.losses import MININGS, cross_entropy, pairwise_distance, triplet_loss

MARGINS = (0.3, 0.0, "soft")


def batch(seed=0, identity=(0, 0, 0, 1, 1, 2, 2, 2, 2, 3), dim=5):
    """Ten embeddings, one identity (3) alone: its only image is an anchor without a positive."""
    return np.random.default_rng(seed).normal(size=(len(identity), dim)), np.array(identity)


def terms_by_loops(embedding, identity, mining, margin):
    """Every term of the loss, written from the equations, one anchor at a time, in float64."""
    squash = (lambda gap: np.log1p(np.exp(gap))) if margin == "soft" else (lambda gap: max(0.0, margin + gap))
    terms = []
    for a in range(len(identity)):
        positives, negatives = [], []
        for other in range(len(identity)):
            distance = np.sqrt(np.sum((embedding[a] - embedding[other]) ** 2))
            if other != a and identity[other] == identity[a]:
                positives.append(distance)
            elif identity[other] != identity[a]:
                negatives.append(distance)
        if not positives or not negatives:
            continue
        if mining == "original":
            terms += [squash(p - n) for p in positives for n in negatives]
        elif mining == "batch_hard":
            terms.append(squash(max(positives) - min(negatives)))
        else:
            far = sum(np.exp(p) * p for p in positives) / sum(np.exp(p) for p in positives)
            near = sum(np.exp(-n) * n for n in negatives) / sum(np.exp(-n) for n in negatives)
            terms.append(squash(far - near))
    return np.array(terms)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", MARGINS)
def test_triplet_equals_the_equations(mining, margin):
    embedding, identity = batch()
    terms = terms_by_loops(embedding, identity, mining, margin)
    value = triplet_loss(embedding, identity, mining=mining, margin=margin)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, terms.mean(), rtol=1e-5)

    value = triplet_loss(embedding, identity, mining=mining, margin=margin, nonzero_mean=True)
    np.testing.assert_allclose(value, terms[terms > 0].mean(), rtol=1e-5)


@pytest.mark.parametrize("mining", MININGS)
def test_nonzero_mean_differs_where_hinges_are_met(mining):
    embedding, identity = batch()
    embedding[identity == 0] += 100  # these anchors have zero terms
    terms = terms_by_loops(embedding, identity, mining, 0.3)
    assert (terms == 0).any()
    value = triplet_loss(embedding, identity, mining=mining, margin=0.3, nonzero_mean=True)
    np.testing.assert_allclose(value, terms[terms > 0].mean(), rtol=1e-4)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", MARGINS)
def test_gradient_equals_finite_differences(mining, margin):
    embedding, identity = batch(dim=2)
    gradient = jax.grad(lambda x: triplet_loss(x, identity, mining=mining, margin=margin))(embedding)
    numeric = np.zeros_like(embedding)
    for index in np.ndindex(embedding.shape):
        for sign in (1, -1):
            moved = embedding.copy()
            moved[index] += sign * 1e-6
            numeric[index] += sign * terms_by_loops(moved, identity, mining, margin).mean() / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=1e-4)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("coinciding", ["two positives", "two negatives", "all"])
def test_gradient_is_finite_where_embeddings_coincide(mining, margin, coinciding):
    embedding, identity = batch()
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    if coinciding == "two positives":
        embedding[1] = embedding[0]
    elif coinciding == "two negatives":
        embedding[3] = embedding[0]
    else:
        embedding[:] = embedding[0]
    gradient = jax.jit(jax.grad(lambda x: triplet_loss(x, identity, mining=mining, margin=margin)))(embedding)
    # A distance's gradient is a unit vector: nothing can be large, rounding noise over 1/distance would be.
    assert np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() < 2
    if coinciding == "all":
        np.testing.assert_array_equal(gradient, 0)


def test_distance_keeps_its_digits_for_close_pairs():
    embedding = np.ones((2, 64), np.float32)
    embedding[1, 0] += 2.0**-12
    np.testing.assert_allclose(pairwise_distance(embedding)[0, 1], 2.0**-12, rtol=1e-4)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("identity", [[7, 7, 7, 7], [1, 2, 3, 4]], ids=["no negative", "no positive"])
def test_batch_without_terms_is_zero(mining, margin, identity):
    embedding, _ = batch(identity=identity)
    value, gradient = jax.value_and_grad(lambda x: triplet_loss(x, np.array(identity), mining=mining, margin=margin))(
        embedding
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("mining", MININGS)
def test_lonely_image_is_only_a_negative_of_others(mining):
    """It has no term of its own; far away, nobody's near negative either, it counts in 'original' alone."""
    embedding, identity = batch()
    embedding[-1] += 1e3
    alone = triplet_loss(embedding[:-1], identity[:-1], mining=mining, margin="soft")
    value = triplet_loss(embedding, identity, mining=mining, margin="soft")
    if mining == "original":
        assert value < alone
    else:
        np.testing.assert_allclose(value, alone, rtol=1e-6)


@pytest.mark.parametrize("mining", MININGS)
def test_equal_distances_cost_log_two(mining):
    """Corners of a simplex: what an untrained network shows, log 2 a stream with the soft margin."""
    value = triplet_loss(np.eye(8), np.repeat(np.arange(2), 4), mining=mining, margin="soft")
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)


def test_detached_weights_change_the_gradient_and_not_the_value():
    embedding, identity = batch()

    def value_and_gradient(detach):
        def loss(x):
            return triplet_loss(x, identity, mining="batch_soft", margin="soft", detach_weights=detach)

        return jax.value_and_grad(loss)(embedding)

    value, gradient = value_and_gradient(False)
    detached_value, detached_gradient = value_and_gradient(True)
    assert value == detached_value
    assert np.abs(gradient - detached_gradient).max() > 1e-3


@pytest.mark.parametrize("mining", MININGS)
def test_bfloat16_embeddings_are_computed_in_float32(mining):
    embedding, identity = batch()
    rounded = jnp.asarray(embedding, jnp.bfloat16)
    value = triplet_loss(rounded, identity, mining=mining, margin=0.3)
    assert value.dtype == jnp.float32
    expected = terms_by_loops(np.asarray(rounded, np.float64), identity, mining, 0.3).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("mining", MININGS)
def test_sharded_batch_gives_the_same_loss(mining):
    embedding, identity = batch(identity=[0, 0, 1, 1, 2, 2, 3, 3])

    def loss(x, y):
        return triplet_loss(x, y, mining=mining, margin=0.3)

    devices = jax.devices()[: len(jax.devices()) if 8 % len(jax.devices()) == 0 else 1]
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    expected = loss(embedding, identity)
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    inputs = jax.device_put((embedding.astype(np.float32), identity.astype(np.int32)), sharding)
    np.testing.assert_allclose(jax.jit(loss)(*inputs), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("switch", "match"),
    [
        ({"mining": "hardest", "margin": 0.3}, "'hardest'.*batch_hard"),
        ({"mining": "batch_hard", "margin": "wide"}, "'wide'"),
        ({"mining": "batch_hard", "margin": -0.1}, "-0.1"),
    ],
)
def test_unknown_switch_is_an_input_error(switch, match):
    with pytest.raises(InputError, match=match):
        triplet_loss(*batch(), **switch)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_the_definition(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)) * 3, np.array([0, 1, 2, 3, 3, 0])
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        probability = np.exp(row) / np.exp(row).sum()
        target = np.full(4, smoothing / 4)
        target[label] += 1 - smoothing
        total -= np.sum(target * np.log(probability))
    value = cross_entropy(logits, labels, smoothing)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, total / 6, rtol=1e-5)


def test_cross_entropy_of_bfloat16_and_of_large_logits():
    logits, labels = np.array([[3e4, 0.0], [0.0, 3e4]]), np.array([0, 0])
    value = cross_entropy(jnp.asarray(logits, jnp.bfloat16), labels)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 15e3, rtol=1e-2)
    uniform = cross_entropy(jnp.zeros((2, 751), jnp.bfloat16), labels, 0.1)
    np.testing.assert_allclose(uniform, np.log(751), rtol=1e-6)


def test_label_smoothing_out_of_range_is_an_input_error():
    with pytest.raises(InputError, match="label_smoothing is 1.0"):
        cross_entropy(np.zeros((1, 2)), np.array([0]), 1.0)
