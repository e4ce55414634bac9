"""BatchNorm statistics over a data set: against float64 and one batch of all images, whatever batches and devices."""

import dataclasses
import os
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
from made_variables import made_variables

from reid_jax import parallel
from reid_jax.averaging import batch_statistics as module
from reid_jax.averaging.batch_statistics import recalibrate
from reid_jax.data import augment
from reid_jax.data.augment import Augmentation, normalise
from reid_jax.errors import InputError
from reid_jax.models.blocks import ConvNorm
from reid_jax.models.heads import Vector
from reid_jax.models.registry import create_network
from reid_jax.training.state import init_variables

SIZE = (32, 32)
IMAGES = 22
MIRROR = Augmentation(pad=0, flip_probability=1.0, erase_probability=0.0)


@pytest.fixture(scope="module")
def setup():
    """(network, variables, images): the smallest network with both streams."""
    fields = dict(stem=8, widths=(16, 16, 16), repeats=(0, 0, 0), global_width=8, local_width=8)
    network = create_network("nano", 4, **fields)
    variables = made_variables(network, SIZE)
    random = np.random.default_rng(0)
    brightness = random.integers(0, 200, (IMAGES, 1, 1, 1))  # images that differ: batches do too
    image = (brightness + random.integers(0, 56, (IMAGES, *SIZE, 3))).astype(np.uint8)
    return network, variables, image


@pytest.fixture(scope="module")
def one_stream(setup):
    """(network, variables, images) without regions, which compiles in half the time: for what is about the images."""
    fields = dict(stem=8, widths=(16, 16, 16), repeats=(0, 0, 0), global_width=8, regions=False)
    network = create_network("nano", 4, **fields)
    return network, made_variables(network, SIZE), setup[2]


def statistics_of_one_batch(network, variables, image):
    """The statistics of one batch of all images, from the running ones after a step from (0, 1) with momentum 0.9."""
    _, changed = jax.jit(lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"]))(
        variables, normalise(image)
    )
    before = variables["batch_stats"]
    return jax.tree.map(lambda new, old: (np.asarray(new) - 0.9 * old) / 0.1, changed["batch_stats"], before)


@pytest.fixture(scope="module")
def of_one_batch(setup):
    return statistics_of_one_batch(*setup)


def assert_close(one, other, rtol, atol):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=jax.tree_util.keystr(path))


def test_statistics_are_those_of_the_augmented_images(one_stream):
    network, variables, image = one_stream
    mesh = parallel.create_mesh()
    mirrored = recalibrate(network, variables["params"], image[:, :, ::-1], mesh, batch=IMAGES)
    augmented = recalibrate(network, variables["params"], image, mesh, augmentation=MIRROR, batch=IMAGES)
    assert_close(augmented, mirrored, rtol=1e-4, atol=1e-6)


def test_a_convolutions_bias_is_in_the_means(setup):
    *_, image = setup
    fields = dict(stem=4, widths=(16, 16, 16), regions=False, global_width=8, block="inception")
    network = create_network("nano", 0, **fields)
    variables = made_variables(network, SIZE)
    random = np.random.default_rng(1)
    variables["params"] = jax.tree_util.tree_map_with_path(
        lambda path, leaf: random.normal(size=leaf.shape).astype(np.float32) if path[-1].key == "bias" else leaf,
        variables["params"],
    )
    recalibrated = recalibrate(network, variables["params"], image, parallel.create_mesh(), batch=IMAGES)
    assert_close(recalibrated, statistics_of_one_batch(network, variables, image), rtol=1e-3, atol=1e-4)


def test_an_image_is_augmented_alike_in_every_batch(one_stream):
    network, variables, image = one_stream
    mesh, shift = parallel.create_mesh(), dataclasses.replace(MIRROR, pad=6, flip_probability=0.5)
    first, second = (
        recalibrate(network, variables["params"], image, mesh, augmentation=shift, batch=batch, exact=True)
        for batch in (5, 11)
    )
    assert_close(first, second, rtol=2e-3, atol=1e-4)


def test_one_batch_gives_its_own_statistics(setup, of_one_batch):
    network, variables, image = setup
    whole = recalibrate(network, variables["params"], image, parallel.create_mesh(), batch=IMAGES)
    assert jax.tree.structure(whole) == jax.tree.structure(variables["batch_stats"])
    assert_close(whole, of_one_batch, rtol=1e-3, atol=1e-5)


def test_exact_statistics_do_not_depend_on_batches_or_their_order(setup, of_one_batch):
    network, variables, image = setup
    mesh = parallel.create_mesh()
    exact = recalibrate(network, variables["params"], image, mesh, batch=5, exact=True)
    assert_close(exact, of_one_batch, rtol=2e-3, atol=1e-4)
    shuffled = image[np.random.default_rng(1).permutation(IMAGES)]
    again = recalibrate(network, variables["params"], shuffled, mesh, batch=5, exact=True)
    assert_close(exact, again, rtol=2e-3, atol=1e-4)


def test_the_first_layer_is_exact_in_one_pass_whatever_the_batches(setup, of_one_batch):
    network, variables, image = setup
    one_pass = recalibrate(network, variables["params"], image, parallel.create_mesh(), batch=5)
    first = ("conv1", "norm")
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            one_pass[first[0]][first[1]][name], of_one_batch[first[0]][first[1]][name], rtol=1e-4, atol=1e-6
        )


def test_it_mends_averaged_weights_whose_exponential_statistics_are_badly_wrong(setup):
    network, variables, image = setup
    mesh = parallel.create_mesh()
    other = made_variables(network, SIZE, seed=1)["params"]
    average = jax.tree.map(lambda a, b: (a + b) / 2, variables["params"], other)
    own = recalibrate(network, variables["params"], image, mesh)
    right = recalibrate(network, average, image, mesh)
    # What a running mean over the two would have left is near their own statistics, far from the average's.
    spread = [
        np.median(np.abs(np.log(a["norm"]["var"] / b["norm"]["var"])))
        for a, b in ((own[layer], right[layer]) for layer in ("fc_global", "fc_local"))
    ]
    assert max(spread) > 0.3
    embed = jax.jit(
        lambda stats: network.apply({"params": average, "batch_stats": stats}, normalise(image), train=False)
    )
    good, bad = embed(right).embedding, embed(own).embedding
    assert np.linalg.norm(np.asarray(good) - np.asarray(bad), axis=1).mean() > 0.1


class Chain(nn.Module):
    """Three BatchNorms in a row, one behind a bias and one over vectors; `chain_in_float64` is the same."""

    @nn.compact
    def __call__(self, image, train):
        x = ConvNorm(4, name="first")(image, train)
        x = ConvNorm(5, use_bias=True, relu=False, name="second")(x, train)
        return Vector(6, name="vector")(x.mean((1, 2)), train)


def chain_in_float64(params, image):
    """Moments (count, mean, biased variance) of what each BatchNorm of `Chain` reads, normalised as in training."""
    found, norms = {}, {name: params[name]["norm"] for name in params}

    def normalised(name, x):
        axes = tuple(range(x.ndim - 1))
        found[name] = (x[..., 0].size, x.mean(axes), x.var(axes))
        _, mean, variance = found[name]
        return (x - mean) / np.sqrt(variance + 1e-5) * norms[name]["scale"] + norms[name]["bias"]

    x = (image / 255 - augment.MEAN) / augment.STD
    x = np.maximum(normalised("first", x @ params["first"]["kernel"][0, 0]), 0)
    x = normalised("second", x @ params["second"]["kernel"][0, 0] + params["second"]["bias"])
    linear = params["vector"]["linear"]
    normalised("vector", x.mean((1, 2)) @ linear["kernel"] + linear["bias"])
    return found


def merged(moments):
    """(mean, variance) of all batches together."""
    counts, means, variances = (np.array(values) for values in zip(*moments, strict=True))
    share = (counts / counts.sum())[:, None]
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean) ** 2)).sum(0)


def chain_and_images(count, seed=0):
    random = np.random.default_rng(seed)
    brightness = random.integers(0, 200, (count, 1, 1, 3))
    image = (brightness + random.integers(0, 56, (count, 4, 2, 3))).astype(np.uint8)
    params = jax.device_get(init_variables(Chain(), jax.random.key(seed), (4, 2)))["params"]
    # Moved: biases start at 0.
    return jax.tree.map(lambda x: x + 0.3 * random.standard_normal(x.shape).astype(np.float32), params), image


@pytest.mark.parametrize(("count", "batch"), [(600, 32), (41, 8), (5, 2), (3, 1), (7, 256)])
def test_what_fills_a_batch_up_is_in_no_number(count, batch):
    params, image = chain_and_images(count)
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), params)
    rows = module._batches(count, batch)
    assert sorted(rows[rows >= 0]) == list(range(count))
    by_batch = [chain_in_float64(wide, image[row[row >= 0]]) for row in rows]
    statistics = recalibrate(Chain(), params, image, parallel.create_mesh(), batch=batch)
    for name in ("first", "second", "vector"):
        mean, variance = merged([moments[name] for moments in by_batch])
        np.testing.assert_allclose(statistics[name]["norm"]["mean"], mean, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(statistics[name]["norm"]["var"], variance, rtol=1e-3, atol=1e-5, err_msg=name)


def test_exact_statistics_are_those_of_all_images_at_once():
    params, image = chain_and_images(41)
    expected = chain_in_float64(jax.tree.map(lambda leaf: leaf.astype(np.float64), params), image)
    statistics = recalibrate(Chain(), params, image, parallel.create_mesh(), batch=8, exact=True)
    for name, (_, mean, variance) in expected.items():
        np.testing.assert_allclose(statistics[name]["norm"]["mean"], mean, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(statistics[name]["norm"]["var"], variance, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_number_of_devices_changes_nothing_but_rounding():
    program = """
import jax, numpy as np
from jax.sharding import AxisType
from batch_statistics_test import Chain, chain_and_images
from reid_jax.averaging.batch_statistics import recalibrate
meshes = [jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]) for n in (1, 4)]
params, image = chain_and_images(41)
one, four = (jax.device_get(recalibrate(Chain(), params, image, mesh, batch=8)) for mesh in meshes)
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, four)
print(len(jax.devices()), "devices agree")
"""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 devices agree\n"


def test_too_few_images_are_refused(setup):
    network, variables, image = setup
    with pytest.raises(InputError, match="1 images"):
        recalibrate(network, variables["params"], image[:1], parallel.create_mesh())
