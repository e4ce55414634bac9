"""The networks: the integers that prove them, their switches, and invariants of the forward pass."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_variables import made_variables

from reid_jax.errors import InputError
from reid_jax.models import ops
from reid_jax.models.attention import HardAttention
from reid_jax.models.blocks import ConvNorm
from reid_jax.models.output import Output
from reid_jax.models.registry import create_network
from reid_jax.models.summary import component_costs, format_costs, total
from reid_jax.training.state import init_variables

SIZE = (160, 64)
TINY = dict(stem=8, widths=(16, 16, 32), repeats=(1, 0, 0), global_width=8, local_width=12)

# parameters without classifiers, multiply-adds, those of two classifiers for 751 identities, running statistics
INTEGERS = {
    "robust_reid_1x": (2_910_596, 682_665_130, 769_024, 36_140),
    "robust_reid_2x": (6_375_194, 1_622_387_018, 1_682_240, 53_638),
    "robust_reid_2x_table": (5_759_834, 1_621_772_618, 1_441_920, 52_998),
    "hacnn": (2_929_112, 543_994_538, 770_526, 13_356),
    "nano": (247_720, 56_358_826, 192_256, 7_632),
}
COMPONENTS = {
    "robust_reid_1x": {
        "conv1": (928, 2_211_840),
        "stage1": (96_672, 210_247_680),
        "stage2": (486_528, 279_408_640),
        "stage3": (869_312, 123_210_240),
        "soft attention 1": (18_974, None),
        "soft attention 2": (74_798, None),
        "soft attention 3": (167_486, None),
        "hard attention 1": (1_032, 1_024),
        "hard attention 2": (2_056, 2_048),
        "hard attention 3": (3_080, 3_072),
        "local1": (9_632, None),
        "local2": (52_736, None),
        "local3": (141_248, None),
        "fc global": (198_144, 196_608),
        "fc local": (787_968, 786_432),
        "pooling": (2, 0),
    },
    "robust_reid_2x": {
        "conv1": (1_044, 2_488_320),
        "stage1": (346_956, 777_968_640),
        "stage2": (831_600, 484_172_800),
        "stage3": (1_466_560, 210_422_400),
        "soft attention 1": (65_804, None),
        "soft attention 2": (116_534, None),
        "soft attention 3": (261_194, None),
        "hard attention 1": (1_928, None),
        "hard attention 2": (2_568, None),
        "hard attention 3": (3_848, None),
        "local1": (25_476, None),
        "local2": (107_760, None),
        "local3": (218_800, None),
        "fc global": (463_680, None),
        "fc local": (2_461_440, None),
        "pooling": (2, 0),
    },
}


@pytest.mark.parametrize("name", INTEGERS)
def test_parameters_and_multiply_adds(name):
    parameters, multiply_adds, classifiers, statistics = INTEGERS[name]
    costs = component_costs(create_network(name, 751), SIZE)
    whole = total(costs)
    assert whole.parameters == parameters
    assert whole.multiply_adds == multiply_adds
    assert whole.statistics == statistics
    assert costs["classifiers"].parameters == classifiers
    for component, (count, work) in COMPONENTS.get(name, {}).items():
        assert costs[component].parameters == count, component
        assert work is None or costs[component].multiply_adds == work, component


def test_elementwise_work_reaches_the_printed_flops():
    for name, printed in (("robust_reid_1x", 0.7167e9), ("robust_reid_2x", 1.6812e9)):
        assert round(total(component_costs(create_network(name, 0), SIZE)).with_elementwise, -5) == printed


def test_the_table_shows_the_totals():
    table = format_costs(component_costs(create_network("nano", 10), SIZE))
    assert "247,720" in table
    assert "56,358,826" in table


def _images(n, size=(64, 32)):
    return jax.random.normal(jax.random.key(1), (n, *size, 3))


# Functions of the network as well: what two tests compile alike is compiled once.
@functools.partial(jax.jit, static_argnums=0)
def _training(network, variables, image):
    output, _ = network.apply(variables, image, train=True, mutable=["batch_stats"])
    return output


@functools.partial(jax.jit, static_argnums=0)
def _inference(network, variables, image):
    return network.apply(variables, image, train=False)


@functools.partial(jax.jit, static_argnums=0)
def _gradients(network, variables, image):
    """(gradients of a sum over features and logits, the output in training)."""

    def loss_of(params):
        output = _training(network, {**variables, "params": params}, image)
        return sum(jnp.sum(jnp.sin(x)) for x in (*output.features, *output.logits)), output

    return jax.grad(loss_of, has_aux=True)(variables["params"])


RAW = dict(pooling="max", classifier_reads="raw")
LEARNED_SCALE = dict(gem_per_channel=True, logit_scale=16.0, logit_scale_learned=True)
SWITCHES = [
    dict(),
    dict(block="inception", pooling="average", normalisation="inference", classifier_bias=True),
    RAW,
    LEARNED_SCALE,
    dict(pooling="average_max", normalisation="bnneck", crop_align_corners=False),
    dict(regions=False, instance_norms=3),
    dict(dtype="bfloat16"),
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: "-".join(map(str, s)) or "default")
def test_every_switch_gives_unit_descriptors_and_finite_gradients(switches):
    network = create_network("nano", 5, **{**TINY, **switches})
    variables = made_variables(network, (64, 32))
    image = _images(4)

    gradients, output = _gradients(network, variables, image)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients))
    streams = 1 if switches.get("regions") is False else 2
    assert len(output.features) == len(output.logits) == streams
    assert all(logits.shape == (4, 5) for logits in output.logits)
    inference = _inference(network, variables, image)
    assert inference.logits == ()
    assert inference.embedding.dtype == jnp.float32
    assert inference.embedding.shape == (4, 8 if streams == 1 else 20)
    np.testing.assert_allclose(jnp.linalg.norm(inference.embedding, axis=1), 1, rtol=1e-4)
    if switches.get("normalisation", "l2") == "l2":
        for vectors in output.features:
            np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1, rtol=1e-4)


def test_what_the_classifier_reads():
    for switches in (dict(), RAW):
        network = create_network("nano", 5, **TINY, **switches)
        variables = made_variables(network, (64, 32))
        _, output = _gradients(network, variables, _images(4))
        kernel = variables["params"]["classifier_global"]["kernel"]
        equal = np.allclose(output.logits[0], output.features[0] @ kernel, atol=1e-5)
        assert equal == (switches != RAW)


def test_logit_scale_multiplies_the_logits():
    network = create_network("nano", 5, **TINY, **LEARNED_SCALE)
    variables, results = made_variables(network, (64, 32)), []
    for scale in (1.0, 8.0):
        variables["params"]["classifier_global"]["log_scale"] = np.log(np.float32(scale))
        _, output = _gradients(network, variables, _images(4))
        results.append(np.asarray(output.logits[0]))
    np.testing.assert_allclose(results[1], 8 * results[0], rtol=1e-4)


@pytest.fixture(scope="module")
def initialised():
    """The parameters that a run begins with, with a learnt scale of 16."""
    network = create_network("nano", 5, **TINY, **LEARNED_SCALE)
    return init_variables(network, jax.random.key(0), (64, 32))["params"]


def test_a_learnt_scale_begins_where_it_is_told(initialised):
    for stream in ("global", "local"):
        np.testing.assert_allclose(np.exp(initialised[f"classifier_{stream}"]["log_scale"]), 16, rtol=1e-5)


def test_first_regions_cover_the_image_from_head_to_feet(initialised):
    bias = initialised["attention1"]["hard"]["linear"]["bias"]
    np.testing.assert_allclose(np.tanh(bias)[1::2], [-0.635, -0.245, 0.245, 0.635], atol=1e-3)
    assert np.all(np.asarray(bias)[::2] == 0)


@pytest.mark.parametrize(
    ("count", "first"), [(1, [0]), (2, [-0.5, 0.5]), (6, [-5 / 6, -0.5, -1 / 6, 1 / 6, 0.5, 5 / 6])]
)
def test_as_many_regions_as_asked_for_of_the_size_and_scale_asked_for(count, first, monkeypatch):
    crops = []
    crop = ops.crop_regions
    monkeypatch.setattr(ops, "crop_regions", lambda x, centres, *rest: crops.append(rest) or crop(x, centres, *rest))
    network = create_network("nano", 5, **TINY, region_count=count, region_size=(20, 17), region_scale=0.3)
    image = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)
    params = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)["params"]
    assert crops == [(20, 17, 0.3, True), (10, 9, 0.3, True), (5, 5, 0.3, True)]
    assert params["attention1"]["hard"]["linear"]["kernel"].shape == (16, 2 * count)
    assert params["fc_local"]["linear"]["kernel"].shape == (32 * count, 12)
    bias = HardAttention(count).init(jax.random.key(0), jnp.ones((1, 2, 2, 16)))["params"]["linear"]["bias"]
    np.testing.assert_allclose(bias.reshape(count, 2), [(0, ty) for ty in first], atol=1e-7)


def test_inference_of_an_image_does_not_depend_on_its_batch():
    network = create_network("nano", 5, **TINY)
    variables = made_variables(network, (64, 32))
    image = _images(4)
    whole = _inference(network, variables, image).embedding
    alone = _inference(network, variables, image[:1]).embedding
    np.testing.assert_allclose(whole[:1], alone, atol=1e-5)


def test_bfloat16_stays_near_float32():
    image = _images(4)
    variables = made_variables(create_network("nano", 5, **TINY), (64, 32))
    wide, narrow = (
        _inference(create_network("nano", 5, **TINY, dtype=dtype), variables, image).embedding
        for dtype in ("float32", "bfloat16")
    )
    assert np.all(np.sum(wide * narrow, 1) > 0.999)


def test_bad_fields_and_images_are_named():
    with pytest.raises(InputError, match="robust_reid_3x.*it takes one of"):
        create_network("robust_reid_3x", 5)
    with pytest.raises(InputError, match="model.wdths is no field"):
        create_network("nano", 5, wdths=(1, 2, 3))
    with pytest.raises(InputError, match="model.pooling is 'mean'"):
        create_network("nano", 5, pooling="mean")
    with pytest.raises(InputError, match="model.repeats is"):
        create_network("nano", 5, repeats=(1, 2))
    with pytest.raises(InputError, match="leaves BNNeck without a reader"):
        create_network("nano", 5, normalisation="bnneck", classifier_reads="raw")
    with pytest.raises(InputError, match=r"shape \(2, 150, 64, 3\).*each a multiple of 32 from 32"):
        made_variables(create_network("nano", 5, **TINY), (150, 64))


def test_a_convolutions_bias_moves_the_running_mean_alone():
    random = np.random.default_rng(0)
    x, kernel, bias, scale, offset = (
        random.normal(size=shape).astype(np.float32) for shape in ((3, 4, 4, 5), (1, 1, 5, 6), 6, 6, 6)
    )
    layer = ConvNorm(6, use_bias=True, relu=False)
    params = {"kernel": kernel, "bias": bias, "norm": {"scale": scale, "bias": offset}}
    fresh = {"norm": {"mean": np.zeros(6, np.float32), "var": np.ones(6, np.float32)}}

    def run(params):
        y, changed = layer.apply({"params": params, "batch_stats": fresh}, x, train=True, mutable=["batch_stats"])
        return jnp.sum(y**3), (y, changed["batch_stats"]["norm"])

    gradient, (y, running) = jax.grad(run, has_aux=True)(params)
    biased = np.einsum("nhwi,io->nhwo", x.astype(np.float64), kernel[0, 0]) + bias
    mean, variance = biased.mean((0, 1, 2)), biased.var((0, 1, 2))
    expected = (biased - mean) / np.sqrt(variance + 1e-5) * scale + offset
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * variance, rtol=1e-4)
    assert not np.any(gradient["bias"])
    assert np.abs(gradient["kernel"]).max() > 1  # other gradients flow

    statistics = {"norm": {"mean": mean.astype(np.float32), "var": variance.astype(np.float32)}}
    inferred = layer.apply({"params": params, "batch_stats": statistics}, x, train=False)
    np.testing.assert_allclose(inferred, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stem": 0}, "model.stem is 0; it takes a whole number from 1"),
        ({"stem": True}, "model.stem is True"),
        ({"widths": (15, 17, 31)}, "multiples of 2, each from 16"),
        ({"widths": (0, 16, 32)}, "multiples of 2, each from 16"),
        ({"widths": (-16, 16, 32)}, "multiples of 2, each from 16"),
        ({"widths": 16}, "model.widths is 16"),
        ({"widths": (16, 16, 10**9)}, "to 8,192"),
        ({"widths": (18, 18, 18), "block": "inception"}, "multiples of 4"),
        ({"repeats": (20_000, 1, 1)}, "each from 0 to 64"),
        ({"global_width": 0}, "model.global_width is 0"),
        ({"local_width": -1}, "model.local_width is -1"),
        ({"region_count": 0}, "model.region_count is 0; it takes a whole number from 1 to 16"),
        ({"region_size": (4, 28)}, r"model.region_size is \(4, 28\); it takes 2 whole numbers"),
        ({"region_scale": 1.5}, "model.region_scale is 1.5"),
        ({"logit_scale": float("nan")}, "not finite"),
        ({"identities": -1}, "number of identities is -1"),
    ],
)
def test_fields_outside_their_ranges_are_refused_before_anything_is_built(fields, words):
    with pytest.raises(InputError, match=words):
        create_network("nano", **{"identities": 5, **fields})


def test_the_cost_of_a_network_with_other_parts_has_rows_for_them():
    class Other(nn.Module):
        @nn.compact
        def __call__(self, image, train):
            x = ConvNorm(8, 3, 2, name="conv1")(image, train)
            x = ConvNorm(4, name="backbone_end")(x, train)
            return Output(jnp.mean(x, (1, 2)), (), ())

    costs = component_costs(Other(), (64, 32))
    assert list(costs) == ["conv1", "backbone end"]
    assert costs["backbone end"].multiply_adds == 32 * 16 * 8 * 4
    assert "backbone end" in format_costs(costs)
