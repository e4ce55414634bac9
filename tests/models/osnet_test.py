"""OSNet: the published counts, derived from its layer table by hand; its parts against NumPy; its switches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_variables import made_variables

from reid_jax.errors import InputError
from reid_jax.models.osnet import AggregationGate, OSNet
from reid_jax.models.registry import create_network
from reid_jax.models.summary import component_costs, format_costs, total

SIZE = (256, 128)
TINY = dict(stem=4, widths=(8, 8, 12), repeats=(1, 1, 1), scales=2, global_width=6)

# Parameters and multiply-adds at 256x128, and what the paper prints: millions of both.
INTEGERS = {
    "osnet_x1_0": (2_169_508, 978_875_392, 2.2, 979),
    "osnet_x0_75": (1_285_754, 571_752_192, 1.3, 572),
    "osnet_x0_5": (630_034, 272_899_328, 0.6, 273),
    "osnet_x0_25": (201_864, 82_314_880, 0.2, 82),
}


def table(stem, widths, vector=512):
    """(parameters, multiply-adds) at 256x128 by the paper's layer table: a BatchNorm has two numbers a channel."""

    def conv_norm(inputs, outputs, places, area=1):
        kernel = area * inputs * outputs
        return np.array([kernel + 2 * outputs, kernel * places])

    def block(inputs, outputs, places):
        c = outputs // 4
        hidden = c // 16
        lite = np.array([c * c + 9 * c + 2 * c, (c * c + 9 * c) * places])
        # The gate is one network of two linear layers, with their biases, that runs once for each of four streams.
        gate = np.array([2 * c * hidden + hidden + c, 4 * 2 * c * hidden])
        shortcut = conv_norm(inputs, outputs, places) * (inputs != outputs)
        return conv_norm(inputs, c, places) + 10 * lite + gate + conv_norm(c, outputs, places) + shortcut

    first, second, third = widths
    return (
        conv_norm(3, stem, 128 * 64, 7 * 7)
        + block(stem, first, 64 * 32)
        + block(first, first, 64 * 32)
        + conv_norm(first, first, 64 * 32)
        + block(first, second, 32 * 16)
        + block(second, second, 32 * 16)
        + conv_norm(second, second, 32 * 16)
        + block(second, third, 16 * 8)
        + block(third, third, 16 * 8)
        + conv_norm(third, third, 16 * 8)
        + np.array([third * vector + vector + 2 * vector, third * vector])
    )


@pytest.mark.parametrize("name", INTEGERS)
def test_parameters_and_multiply_adds_are_the_published_ones(name):
    parameters, multiply_adds, millions, printed = INTEGERS[name]
    network = create_network(name, 751)
    costs = component_costs(network, SIZE)
    assert (total(costs).parameters, total(costs).multiply_adds) == (parameters, multiply_adds)
    assert tuple(table(network.stem, network.widths)) == (parameters, multiply_adds)
    assert (round(parameters / 1e6, 1), round(multiply_adds / 1e6)) == (millions, printed)
    assert costs["classifiers"].parameters == (512 + 1) * 751


def test_the_table_has_a_row_for_each_layer():
    text = format_costs(component_costs(create_network("osnet_x0_25", 0), SIZE))
    rows = [line.split("  ")[0] for line in text.splitlines()]
    assert rows[2:9] == ["conv1", "stage1", "stage2", "stage3", "conv5", "pooling", "fc"]
    assert "82,314,880" in text


def test_the_gate_weighs_each_stream_by_its_own_means():
    rng = np.random.default_rng(0)
    streams = [rng.normal(size=(2, 3, 5, 32)).astype(np.float32) for _ in range(3)]
    variables = AggregationGate().init(jax.random.key(0), streams)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), variables)
    reduce, expand = variables["params"]["reduce"], variables["params"]["expand"]
    assert reduce["kernel"].shape == (32, 2)
    wanted = 0
    for stream in streams:
        hidden = np.maximum(stream.mean((1, 2)) @ reduce["kernel"] + reduce["bias"], 0)
        gate = 1 / (1 + np.exp(-(hidden @ expand["kernel"] + expand["bias"])))
        wanted = wanted + stream * gate[:, None, None]
    np.testing.assert_allclose(AggregationGate().apply(variables, streams), wanted, rtol=1e-4, atol=1e-4)


def _images(n, size=(32, 16)):
    return jax.random.normal(jax.random.key(1), (n, *size, 3))


def _variables(network, size=(32, 16)):
    return made_variables(network, size)


@pytest.mark.parametrize(
    ("size", "switches"),
    [
        ((37, 19), dict()),  # odd at each halving
        ((16, 16), dict(normalisation="bnneck", pooling="gem", gem_per_channel=True, classifier_bias=False)),
        ((16, 16), dict(normalisation="l2", logit_scale=16.0, logit_scale_learned=True, dtype="bfloat16", scales=1)),
    ],
    ids=["default", "bnneck", "l2"],
)
def test_every_size_and_switch_gives_unit_descriptors_and_finite_gradients(size, switches):
    network = OSNet(5, **{**TINY, **switches})
    variables, image = _variables(network), _images(4, size)

    @jax.jit
    def loss(params):
        output, state = network.apply({**variables, "params": params}, image, train=True, mutable=["batch_stats"])
        return sum(jnp.sum(each**2) for each in (*output.features, *output.logits)), (output, state)

    (_, (output, state)), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    assert all(np.all(np.isfinite(leaf)) and leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradients))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients["conv1"]["kernel"]))
    assert network.streams == (6,)
    assert [each.shape for each in (*output.features, *output.logits)] == [(4, 6), (4, 5)]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((output, state, variables)))
    embedding = jax.jit(lambda v, x: network.apply(v, x, train=False).embedding)(variables, image)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, rtol=1e-5)


def test_images_of_other_sizes_are_named():
    network = OSNet(0, **TINY)
    for shape in ((1, 15, 16, 3), (1, 32, 1025, 3), (1, 32, 16, 1)):
        with pytest.raises(InputError, match=r"it takes \[n, height, width, 3\] with height and width each"):
            network.init(jax.random.key(0), jnp.zeros(shape), train=True)


def test_bfloat16_stays_near_float32():
    variables, image = _variables(OSNet(0, **TINY)), _images(4)

    def embedding(dtype):
        network = OSNet(0, **TINY, dtype=dtype)
        return jax.jit(lambda v, x: network.apply(v, x, train=False).embedding)(variables, image)

    wide, narrow = embedding("float32"), embedding("bfloat16")
    assert wide.dtype == narrow.dtype == jnp.float32
    assert 0 < np.abs(wide - narrow).max() < 0.05


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(widths=(8, 8, 10)), r"model.widths is \(8, 8, 10\); it takes 3 multiples of 4"),
        (dict(scales=0), "model.scales is 0"),
        (dict(repeats=(1, 1)), "model.repeats"),
        (dict(normalisation="bnneck", classifier_reads="raw"), "leaves BNNeck without a reader"),
        (dict(block="shuffle"), "model.block is no field of the network"),
    ],
)
def test_fields_outside_their_ranges_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        create_network("osnet_x0_25", 0, **fields)
