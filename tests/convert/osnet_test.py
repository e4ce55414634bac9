"""A synthetic state dict with the names and shapes of torchreid's OSNet, and its forward pass in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from reid_jax.convert.formats import convert_weights
from reid_jax.convert.osnet import convert_osnet
from reid_jax.errors import InputError
from reid_jax.main import main
from reid_jax.models.registry import create_network
from reid_jax.weights import load_weights

QUARTER = (16, 64, 96, 128)  # channels of conv1 and of the three stages
IDENTITIES = 7


def torchreid_state_dict(channels=QUARTER, repeats=(2, 2, 2), width=512, identities=IDENTITIES, seed=0):
    rng = np.random.default_rng(seed)
    state = {}

    def conv(name, inputs, outputs, size=1):
        scale = (inputs * size**2) ** -0.5
        state[f"{name}.weight"] = rng.normal(0, scale, (outputs, inputs, size, size)).astype(np.float32)

    def norm(name, channels):
        state[f"{name}.weight"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        state[f"{name}.bias"] = rng.normal(0, 0.3, channels).astype(np.float32)
        state[f"{name}.running_mean"] = rng.normal(0, 0.3, channels).astype(np.float32)
        state[f"{name}.running_var"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        state[f"{name}.num_batches_tracked"] = np.array(5)

    def conv_norm(name, inputs, outputs, size=1):
        conv(f"{name}.conv", inputs, outputs, size)
        norm(f"{name}.bn", outputs)

    def bias(name, outputs):
        state[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)

    def linear(name, inputs, outputs):
        state[f"{name}.weight"] = rng.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        bias(name, outputs)

    def block(name, inputs, outputs):
        middle = outputs // 4
        conv_norm(f"{name}.conv1", inputs, middle)
        for lite in ("a", "b.0", "b.1", "c.0", "c.1", "c.2", "d.0", "d.1", "d.2", "d.3"):
            conv(f"{name}.conv2{lite}.conv1", middle, middle)
            conv(f"{name}.conv2{lite}.conv2", 1, middle, 3)
            norm(f"{name}.conv2{lite}.bn", middle)
        conv(f"{name}.gate.fc1", middle, middle // 16)
        bias(f"{name}.gate.fc1", middle // 16)
        conv(f"{name}.gate.fc2", middle // 16, middle)
        bias(f"{name}.gate.fc2", middle)
        conv_norm(f"{name}.conv3", middle, outputs)
        if inputs != outputs:
            conv_norm(f"{name}.downsample", inputs, outputs)

    conv_norm("conv1", 3, channels[0], 7)
    inputs = channels[0]
    for stage, (outputs, count) in enumerate(zip(channels[1:], repeats, strict=True), 2):
        for number in range(count):
            block(f"conv{stage}.{number}", inputs, outputs)
            inputs = outputs
        if stage < 4:
            conv_norm(f"conv{stage}.{count}.0", outputs, outputs)
    conv_norm("conv5", inputs, inputs)
    linear("fc.0", inputs, width)
    norm("fc.1", width)
    if identities:
        linear("classifier", width, identities)
    return state


class NumpyOSNet:
    """The published layers on images [n, 3, h, w] in float64, by the state dict's own names."""

    def __init__(self, state, repeats=(2, 2, 2)):
        self.state = {name: np.asarray(value, np.float64) for name, value in state.items()}
        self.repeats = repeats

    def conv(self, x, name, stride=1):
        weight = self.state[f"{name}.weight"]
        size = weight.shape[-1]
        pad = (size - 1) // 2
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        height, width = ((side - 1) // stride + 1 for side in x.shape[2:])
        depthwise = weight.shape[1] == 1 != x.shape[1]
        y = 0
        for i in range(size):
            for j in range(size):
                window = padded[:, :, i : i + stride * height : stride, j : j + stride * width : stride]
                window = window[:, :, :height, :width]
                kernel = weight[:, :, i, j]
                y = y + (window * kernel[:, 0, None, None] if depthwise else np.einsum("nchw,oc->nohw", window, kernel))
        return y

    def norm(self, x, name):
        scale, bias, mean, variance = (
            self.state[f"{name}.{each}"].reshape(-1, *[1] * (x.ndim - 2))
            for each in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias

    def conv_norm(self, x, name, stride=1, relu=True):
        x = self.norm(self.conv(x, f"{name}.conv", stride), f"{name}.bn")
        return np.maximum(x, 0) if relu else x

    def lite(self, x, name):
        x = self.conv(self.conv(x, f"{name}.conv1"), f"{name}.conv2")
        return np.maximum(self.norm(x, f"{name}.bn"), 0)

    def gated(self, x, name):
        def linear(pooled, layer):
            return pooled @ self.state[f"{layer}.weight"][:, :, 0, 0].T + self.state[f"{layer}.bias"]

        hidden = np.maximum(linear(x.mean((2, 3)), f"{name}.fc1"), 0)
        return x / (1 + np.exp(-linear(hidden, f"{name}.fc2")))[:, :, None, None]

    def block(self, x, name):
        first = self.conv_norm(x, f"{name}.conv1")
        total = self.gated(self.lite(first, f"{name}.conv2a"), f"{name}.gate")
        for letter, depth in (("b", 2), ("c", 3), ("d", 4)):
            stream = first
            for layer in range(depth):
                stream = self.lite(stream, f"{name}.conv2{letter}.{layer}")
            total = total + self.gated(stream, f"{name}.gate")
        shortcut = x
        if f"{name}.downsample.conv.weight" in self.state:
            shortcut = self.conv_norm(x, f"{name}.downsample", relu=False)
        return np.maximum(self.conv_norm(total, f"{name}.conv3", relu=False) + shortcut, 0)

    def __call__(self, x):
        x = self.conv_norm(x, "conv1", 2)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        height, width = ((side - 1) // 2 + 1 for side in x.shape[2:])
        rows, columns = 2 * np.arange(height), 2 * np.arange(width)
        windows = [padded[:, :, rows + i][:, :, :, columns + j] for i in range(3) for j in range(3)]
        x = np.max(windows, 0)
        for stage, count in enumerate(self.repeats, 2):
            for number in range(count):
                x = self.block(x, f"conv{stage}.{number}")
            if stage < 4:
                x = self.conv_norm(x, f"conv{stage}.{count}.0")
                x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
                x = (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
        x = self.conv_norm(x, "conv5").mean((2, 3))
        x = self.norm(x @ self.state["fc.0.weight"].T + self.state["fc.0.bias"], "fc.1")
        x = np.maximum(x, 0)
        return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_descriptors_are_those_of_the_published_layers():
    state = torchreid_state_dict()
    fields, variables = convert_osnet(state)
    network = create_network(**fields)
    embed = jax.jit(lambda v, x: network.apply(v, x, train=False).embedding)
    rng = np.random.default_rng(1)
    for size in ((64, 32), (53, 37)):
        # A colour of its own for each image, and patches that the deep layers still see.
        patches = np.kron(rng.normal(size=(2, 8, 5, 3)), np.ones((1, 8, 8, 1)))[:, : size[0], : size[1]]
        image = 2 * rng.normal(size=(2, 1, 1, 3)) + patches
        wanted = NumpyOSNet(state)(image.transpose(0, 3, 1, 2))
        assert np.abs(wanted[0] - wanted[1]).max() > 0.01  # a thousand times what is allowed below
        np.testing.assert_allclose(embed(variables, image.astype(np.float32)), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "osnet_x0_25"),
        ({"identities": 0}, "osnet_x0_25"),
        ({"channels": (32, 128, 192, 256)}, "osnet_x0_5"),
        ({"channels": (48, 192, 288, 384)}, "osnet_x0_75"),
        ({"channels": (64, 256, 384, 512)}, "osnet_x1_0"),
        ({"channels": (16, 64, 64, 96), "repeats": (1, 3, 2), "width": 20}, "osnet_x1_0"),
    ],
    ids=["x0_25", "no classifier", "x0_5", "x0_75", "x1_0", "other widths"],
)
def test_fills_exactly_the_network(options, name):
    state = torchreid_state_dict(**options)
    fields, variables = convert_osnet(state)
    assert fields["name"] == name
    assert fields["identities"] == options.get("identities", IDENTITIES)
    assert fields["repeats"] == options.get("repeats", (2, 2, 2))
    if name == "osnet_x0_25" or "repeats" in options:  # the others differ in their widths alone
        network = create_network(**fields)
        expected = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 32, 3)), train=True))
        assert jax.tree.map(lambda leaf: leaf.shape, expected) == jax.tree.map(lambda leaf: leaf.shape, variables)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables))
    # Every number of the state dict arrives once.
    given = np.concatenate([value.ravel() for key, value in state.items() if not key.endswith("num_batches_tracked")])
    arrived = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(variables)])
    np.testing.assert_array_equal(np.sort(arrived), np.sort(given))


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("conv3.1.conv2c.2.bn.running_var", r"missing: conv3\.1\.conv2c\.2\.bn\.running_var$"),
        ("fc.0.weight", r"missing: fc\.0\.weight$"),
        ("conv4.0.conv3.conv.weight", r"missing: conv4\.0\.conv3\.conv\.weight$"),
        ("classifier.bias", r"missing: classifier\.bias$"),
        # Without what a block is counted by, the next one is taken for a transition.
        ("conv3.1.conv3.conv.weight", r"missing: conv3\.1\.0\.conv\.weight"),
    ],
)
def test_missing_tensors_are_named(missing, words):
    state = torchreid_state_dict()
    del state[missing]
    with pytest.raises(InputError, match=rf"no state dict of torchreid's osnet.*({words})") as caught:
        convert_osnet(state)
    assert "\n" not in str(caught.value)


def test_unknown_tensors_are_named():
    with pytest.raises(InputError, match=r"unknown: conv2\.0\.IN\.weight$"):
        convert_osnet(torchreid_state_dict() | {"conv2.0.IN.weight": np.zeros(64, np.float32)})


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("conv2.0.conv2a.conv2.weight", (16, 16, 3, 3), r"wrong: conv2\.0\.conv2a\.conv2\.weight \(16, 16, 3, 3\)"),
        ("conv2.0.gate.fc1.weight", (1, 16, 3, 3), r"wrong: conv2\.0\.gate\.fc1\.weight \(1, 16, 3, 3\)"),
        ("conv1.conv.weight", (16, 3, 3, 3), r"wrong: conv1\.conv\.weight"),
        ("conv1.conv.weight", (), r"wrong: conv1\.conv\.weight \(\)"),
        ("conv2.0.conv3.conv.weight", (62, 16, 1, 1), "multiples of 4"),
        ("fc.1.bias", (3,), r"wrong: fc\.1\.bias \(3,\)"),
        ("conv1.conv.weight", (0, 3, 7, 7), r"model\.stem is 0"),
    ],
)
def test_wrong_shapes_are_named(name, shape, words):
    with pytest.raises(InputError, match=words):
        convert_osnet(torchreid_state_dict() | {name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("conv1.conv.weight", lambda a: a * np.nan, r"conv1\.conv\.weight has [\d,]+ of [\d,]+ numbers"),
        ("conv5.bn.running_var", lambda a: a * 0 - 1, "conv5.bn.running_var is a variance, .* -1"),
        ("fc.0.bias", lambda a: a.astype(np.int64), r"not of floating point: fc\.0\.bias int64"),
    ],
)
def test_tensors_that_are_no_weights_are_named(name, spoil, words):
    state = torchreid_state_dict()
    state[name] = spoil(state[name])
    with pytest.raises(InputError, match=words):
        convert_osnet(state)


def test_the_verb_tells_the_network_by_its_tensors(tmp_path, capsys):
    state = torchreid_state_dict()
    safetensors.numpy.save_file({f"module.{name}": array for name, array in state.items()}, tmp_path / "t.safetensors")
    out = tmp_path / "ours.safetensors"
    assert main(["convert", f"--torch={tmp_path / 't.safetensors'}", f"--out={out}"]) == 0
    assert "osnet_x0_25, 7 identities\n" in capsys.readouterr().out
    weights = load_weights(out)
    assert weights.config.image_size == (256, 128)
    assert weights.network.widths == QUARTER[1:]
    assert (weights.network.normalisation, weights.network.logit_scale) == ("inference", 1.0)
    np.testing.assert_array_equal(
        weights.variables["params"]["conv1"]["kernel"][0, 0, 0], state["conv1.conv.weight"][:, 0, 0, 0]
    )


def test_a_file_of_another_network_is_refused_with_the_names_of_those_that_are_known():
    with pytest.raises(InputError, match=r"torchreid's hacnn, torchreid's osnet; they are layer\.weight \(2,\)$"):
        convert_weights({"layer.weight": np.zeros(2)})
