"""A synthetic state dict with the names and shapes of torchreid's HA-CNN, filled with random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from reid_jax.convert.hacnn import convert_hacnn
from reid_jax.convert.torch_file import read_state_dict
from reid_jax.errors import InputError
from reid_jax.main import main
from reid_jax.models.blocks import ConvNorm, InceptionB
from reid_jax.models.registry import create_network
from reid_jax.weights import load_weights

WIDTHS, WIDTH, IDENTITIES = (32, 48, 64), 20, 7


def torchreid_state_dict(widths=WIDTHS, width=WIDTH, identities=IDENTITIES, regions=True, seed=0):
    rng = np.random.default_rng(seed)
    state = {}

    def norm(name, channels):
        state[f"{name}.weight"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        state[f"{name}.bias"] = rng.normal(size=channels).astype(np.float32)
        state[f"{name}.running_mean"] = rng.normal(size=channels).astype(np.float32)
        state[f"{name}.running_var"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        state[f"{name}.num_batches_tracked"] = np.array(5)

    def linear(name, inputs, outputs):
        state[f"{name}.weight"] = rng.normal(size=(outputs, inputs)).astype(np.float32)
        state[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)

    def block(name, inputs, outputs, size):
        state[f"{name}.conv.weight"] = rng.normal(size=(outputs, inputs, size, size)).astype(np.float32)
        state[f"{name}.conv.bias"] = rng.normal(size=outputs).astype(np.float32)
        norm(f"{name}.bn", outputs)

    def inception_a(name, inputs, outputs):
        for stream in (1, 2, 3):
            block(f"{name}.stream{stream}.0", inputs, outputs // 4, 1)
            block(f"{name}.stream{stream}.1", outputs // 4, outputs // 4, 3)
        block(f"{name}.stream4.1", inputs, outputs // 4, 1)

    def inception_b(name, inputs, outputs):
        for stream, places in ((1, (1,)), (2, (1, 2))):
            block(f"{name}.stream{stream}.0", inputs, outputs // 4, 1)
            for place in places:
                block(f"{name}.stream{stream}.{place}", outputs // 4, outputs // 4, 3)
        block(f"{name}.stream3.1", inputs, outputs // 2, 1)

    block("conv", 3, 32, 3)
    inputs = 32
    for level, channels in enumerate(widths, 1):
        inception_a(f"inception{level}.0", inputs, channels)
        inception_b(f"inception{level}.1", channels, channels)
        attention = f"ha{level}.soft_attn"
        block(f"{attention}.spatial_attn.conv1", 1, 1, 3)
        block(f"{attention}.spatial_attn.conv2", 1, 1, 1)
        block(f"{attention}.channel_attn.conv1", channels, channels // 16, 1)
        block(f"{attention}.channel_attn.conv2", channels // 16, channels, 1)
        block(f"{attention}.conv", channels, channels, 1)
        linear(f"ha{level}.hard_attn.fc", channels, 8)
        if regions:
            inception_b(f"local_conv{level}", inputs, channels)
        inputs = channels
    for stream, pooled in {"global": inputs, "local": 4 * inputs}.items():
        if stream == "global" or regions:
            linear(f"fc_{stream}.0", pooled, width)
            norm(f"fc_{stream}.1", width)
            if identities:
                linear(f"classifier_{stream}", width, identities)
    return state


def shapes(tree):
    return jax.tree.map(lambda leaf: leaf.shape, tree)


@pytest.mark.parametrize(
    "options",
    [{}, {"identities": 0}, {"regions": False}, {"widths": (128, 256, 384), "width": 512}],
    ids=["small", "no classifiers", "global only", "published"],
)
def test_fills_exactly_the_network(options):
    state = torchreid_state_dict(**options)
    config, variables = convert_hacnn(state)
    network = create_network(**config)
    expected = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 160, 64, 3)), train=True))
    assert shapes(variables) == shapes(expected)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables))
    assert config["identities"] == options.get("identities", IDENTITIES)
    assert config["widths"] == options.get("widths", WIDTHS)
    assert config["crop_align_corners"] is True

    # Every number of the state dict arrives once, the dead layers of a network without regions excepted.
    unused = (
        ("num_batches_tracked",)
        if config["regions"]
        else ("num_batches_tracked", "hard_attn.fc.weight", "hard_attn.fc.bias")
    )
    given = np.concatenate([value.ravel() for key, value in state.items() if not key.endswith(unused)])
    arrived = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(variables)])
    np.testing.assert_array_equal(np.sort(arrived), np.sort(given))


def test_crop_grid_is_the_callers_choice():
    config, _ = convert_hacnn(torchreid_state_dict(), crop_align_corners=False)
    assert create_network(**config).crop_align_corners is False


def test_half_precision_becomes_float32():
    state = {name: value.astype(np.float16) for name, value in torchreid_state_dict().items()}
    _, variables = convert_hacnn(state)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables))


def block_by_loops(x, state, name, stride):
    """Convolution with bias, BatchNorm with running statistics and ReLU, on [c, h, w], as PyTorch defines them."""
    weight, bias = state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]
    outputs, _, size, _ = weight.shape
    pad = (size - 1) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    y = np.zeros((outputs, height, width))
    for o in range(outputs):
        for i in range(height):
            for j in range(width):
                patch = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
                y[o, i, j] = np.sum(patch * weight[o]) + bias[o]
        mean, variance = state[f"{name}.bn.running_mean"][o], state[f"{name}.bn.running_var"][o]
        y[o] = (y[o] - mean) / np.sqrt(variance + 1e-5)
        y[o] = y[o] * state[f"{name}.bn.weight"][o] + state[f"{name}.bn.bias"][o]
    return np.maximum(y, 0)


def max_pool_by_loops(x):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    height, width = x.shape[1] // 2, x.shape[2] // 2
    y = np.zeros((len(x), height, width))
    for i in range(height):
        for j in range(width):
            y[:, i, j] = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2))
    return y


def part(variables, *path):
    for name in path:
        variables = {kind: tree[name] for kind, tree in variables.items()}
    return variables


def test_first_convolution_equals_pytorchs_definition():
    state = torchreid_state_dict()
    _, variables = convert_hacnn(state)
    image = np.random.default_rng(1).normal(size=(3, 8, 6))
    ours = ConvNorm(32, 3, 2, use_bias=True).apply(
        part(variables, "conv1"), image.transpose(1, 2, 0)[None], train=False
    )
    np.testing.assert_allclose(
        ours[0].transpose(2, 0, 1), block_by_loops(image, state, "conv", 2), rtol=1e-4, atol=1e-4
    )


def test_local_inception_equals_pytorchs_definition():
    state = torchreid_state_dict()
    _, variables = convert_hacnn(state)
    x = np.random.default_rng(1).normal(size=(32, 4, 6)).astype(np.float32) / 8
    ours = InceptionB(32).apply(part(variables, "local1"), x.transpose(1, 2, 0)[None], train=False)

    name = "local_conv1.stream"
    first = block_by_loops(block_by_loops(x, state, f"{name}1.0", 1), state, f"{name}1.1", 2)
    second = block_by_loops(block_by_loops(x, state, f"{name}2.0", 1), state, f"{name}2.1", 1)
    second = block_by_loops(second, state, f"{name}2.2", 2)
    third = block_by_loops(max_pool_by_loops(x), state, f"{name}3.1", 1)
    expected = np.concatenate([first, second, third])
    np.testing.assert_allclose(ours[0].transpose(2, 0, 1), expected, rtol=1e-3, atol=1e-3)


def test_linear_layers_are_transposed():
    state = torchreid_state_dict()
    _, variables = convert_hacnn(state)
    pooled = np.random.default_rng(1).normal(size=4 * WIDTHS[-1])
    linear = variables["params"]["fc_local"]["linear"]
    expected = [
        np.sum(row * pooled) + bias
        for row, bias in zip(*(state[f"fc_local.0.{x}"] for x in ("weight", "bias")), strict=True)
    ]
    np.testing.assert_allclose(pooled @ linear["kernel"] + linear["bias"], expected, rtol=1e-4, atol=1e-4)


def test_missing_tensors_are_named():
    state = torchreid_state_dict()
    del state["ha2.soft_attn.conv.bn.running_var"]
    with pytest.raises(InputError, match=r"missing: ha2\.soft_attn\.conv\.bn\.running_var$"):
        convert_hacnn(state)
    with pytest.raises(InputError, match=r"missing: classifier_local\.weight"):
        convert_hacnn({k: v for k, v in torchreid_state_dict().items() if k != "classifier_local.weight"})
    with pytest.raises(InputError, match=r"missing: fc_local\.0\.weight"):
        convert_hacnn({k: v for k, v in torchreid_state_dict().items() if not k.startswith("fc_local")})


def test_unknown_tensors_are_named_and_counted():
    state = torchreid_state_dict() | {f"layer{i}.weight": np.zeros(1) for i in range(8)}
    with pytest.raises(InputError, match=r"unknown: layer0\.weight.*layer4\.weight and 3 more$"):
        convert_hacnn(state)


def test_another_networks_weights():
    with pytest.raises(InputError, match=r"missing: conv\.conv\.weight, ha1.*") as caught:
        convert_hacnn({"conv1.weight": np.zeros((64, 3, 7, 7)), "fc.weight": np.zeros((10, 64))})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        (
            "inception2.0.stream1.1.conv.weight",
            (12, 12, 5, 5),
            r"wrong: inception2\.0\.stream1\.1\.conv\.weight \(12, 12, 5, 5\)",
        ),
        ("fc_local.1.bias", (3,), r"wrong: fc_local\.1\.bias \(3,\)"),
        ("conv.conv.weight", (), r"wrong: conv\.conv\.weight \(\)"),
        ("classifier_local.weight", (9, WIDTH), r"wrong: classifier_local\.weight"),
        ("ha1.soft_attn.conv.conv.weight", (30, 30, 1, 1), "multiples of 16"),
    ],
)
def test_wrong_shapes_are_named(name, shape, match):
    with pytest.raises(InputError, match=match):
        convert_hacnn(torchreid_state_dict() | {name: np.zeros(shape, np.float32)})


FIRST = "conv.conv.weight"


@pytest.mark.parametrize(
    ("name", "spoil", "match"),
    [
        (FIRST, lambda a: a * np.nan, rf"array {FIRST} has [\d,]+ of [\d,]+ numbers that are not finite"),
        ("fc_global.0.bias", lambda a: a * np.inf, "array fc_global.0.bias has"),
        (FIRST, lambda a: a.astype(np.float64) + 1e300, rf"array {FIRST} has"),  # of float64, beyond float32
        ("conv.bn.running_var", lambda a: a * 0 - 1, "array conv.bn.running_var is a variance, .* -1"),
        ("ha1.soft_attn.conv.bn.running_mean", lambda a: a * np.nan, "running_mean has"),
        (FIRST, lambda a: a.astype(np.int64), f"not of floating point: {FIRST} int64"),
        (FIRST, lambda a: a > 0, f"not of floating point: {FIRST} bool"),
    ],
)
def test_tensors_that_are_no_weights_are_named(name, spoil, match):
    state = torchreid_state_dict()
    state[name] = spoil(state[name])
    with pytest.raises(InputError, match=match):
        convert_hacnn(state)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "backbone.", "module.module.", "model.base.", "_orig_mod."]
)
def test_what_wrappers_put_before_all_names_is_cut_off(prefix, tmp_path):
    state = {f"{prefix}{name}": array for name, array in torchreid_state_dict().items()}
    safetensors.numpy.save_file(state, tmp_path / "m.safetensors")
    tensors = read_state_dict(tmp_path / "m.safetensors")
    assert tensors.keys() == torchreid_state_dict().keys()


def test_a_prefix_that_only_some_names_have_is_told_by_what_is_there(tmp_path):
    state = {f"backbone.{name}": array for name, array in torchreid_state_dict().items()} | {"head": np.zeros((2, 3))}
    with pytest.raises(
        InputError, match=r"which holds .*backbone\.conv.* and \d+ more; tensors are missing: conv\.conv"
    ):
        convert_hacnn(state)


def test_the_verb_converts_but_never_onto_its_source(tmp_path, capsys):
    source = tmp_path / "torch.safetensors"
    safetensors.numpy.save_file({f"model.{name}": one for name, one in torchreid_state_dict().items()}, source)
    before = source.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(source)
    (tmp_path / "hard.safetensors").hardlink_to(source)
    (tmp_path / "folder").mkdir()
    for out in (
        source,
        tmp_path / "folder" / ".." / source.name,
        tmp_path / "link.safetensors",
        tmp_path / "hard.safetensors",
    ):
        assert main(["convert", f"--torch={source}", f"--out={out}"]) == 2
        assert "which is read as --torch" in capsys.readouterr().err
    for out, words in ((tmp_path / "a.pth", ".safetensors"), (source / "a.safetensors", "cannot be written")):
        assert main(["convert", f"--torch={source}", f"--out={out}"]) == 2
        assert words in capsys.readouterr().err
    assert source.read_bytes() == before
    assert main(["convert", f"--torch={source}", f"--out={tmp_path / 'ours.safetensors'}"]) == 0
    assert load_weights(tmp_path / "ours.safetensors").identities == IDENTITIES


@pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc"])
def test_a_pytorch_file_for_weights_is_told_of_convert(begin, tmp_path):
    (tmp_path / "m.pth").write_bytes(begin + bytes(100))
    with pytest.raises(InputError, match=r"m\.pth is a PyTorch file; .*reid-jax convert --torch="):
        load_weights(tmp_path / "m.pth")
