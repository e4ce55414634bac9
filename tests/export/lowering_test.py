"""Programs as ONNX: what ONNX Runtime computes of them is what JAX computes, for any number of images."""

import collections

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

pytest.importorskip("onnx", reason="of the extra 'export'")
onnxruntime = pytest.importorskip("onnxruntime", reason="of the extra 'export'")

from onnx import TensorProto  # noqa: E402

from reid_jax.errors import InputError  # noqa: E402
from reid_jax.export.half import halve  # noqa: E402
from reid_jax.export.lowering import lower  # noqa: E402
from reid_jax.export.model_file import model_of  # noqa: E402
from reid_jax.export.primitives import EMITTERS  # noqa: E402
from reid_jax.export.simplify import simplify  # noqa: E402

SIZE = (6, 4)
RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def kernel(*shape):
    return normal(*shape) * np.float32(0.5)


MATRIX, SQUARE, CHANNELS = kernel(3, 5), kernel(3, 3), normal(3)
CONV, DEPTHWISE, WIDE = kernel(3, 3, 3, 5), kernel(3, 3, 1, 3), kernel(3, 3, 5, 5)
CROPS = kernel(2, 3, 6)
NHWC = ("NHWC", "HWIO", "NHWC")


def convolved(x, weights, stride=1, padding="SAME", **options):
    return lax.conv_general_dilated(x, weights, (stride, stride), padding, dimension_numbers=NHWC, **options)


def flat(x):
    return x.reshape(x.shape[0], -1)


def attention(x):
    tokens = x.reshape(x.shape[0], -1, 3)
    weights = nn.softmax(jnp.einsum("nqc,nkc->nqk", tokens @ SQUARE, tokens))
    return flat(jnp.einsum("nqk,nkc->nqc", weights, tokens))


def class_token(x):
    tokens = x.reshape(x.shape[0], -1, 3)
    first = jnp.broadcast_to(jnp.asarray(CHANNELS), (x.shape[0], 1, 3))
    return flat(jnp.concatenate([first, tokens], 1) * np.float32(2))


def interleaved(x):
    return jnp.stack([x, x * 2], -1).reshape(*x.shape[:3], 6)


PROGRAMS = {
    # element by element
    "affine": lambda x: flat(((x / 2 - 1) * CHANNELS + 3) * 0.25),
    "functions": lambda x: flat(jnp.tanh(x) + jnp.exp(-(x**2)) + jnp.sqrt(jnp.abs(x)) + nn.gelu(x) + nn.sigmoid(x)),
    "powers": lambda x: flat(jnp.abs(x) ** 1.5 + x**3 + lax.rsqrt(x * x + 1)),
    "choices": lambda x: flat(jnp.where(x > 0, x, CHANNELS) + jnp.where(np.array(True), x, 1 / x) + (x != 0)),
    "limits": lambda x: flat(jnp.clip(x, -0.5, 0.5) + jnp.maximum(x, 0) + jnp.minimum(x, 1)),
    "more of each than zeros": lambda x: flat(jnp.maximum(x.mean(-1, keepdims=True), np.zeros(5, np.float32))),
    "on images and channels": lambda x: flat(jnp.mean(x, -1, keepdims=True) * jnp.mean(x, (1, 2), keepdims=True)),
    # axes
    "transposed": lambda x: flat(x.transpose(0, 2, 3, 1)),
    "interleaved": lambda x: flat(interleaved(x)),
    "side by side": lambda x: flat(jnp.stack([x.mean((1, 2)), x.max((1, 2))], 1) @ MATRIX),
    "stacked first": lambda x: flat(jnp.stack([x, x * 2]).sum(0)),
    "divided": lambda x: flat(x.reshape(x.shape[0], 3, 2, 2, 2, 3).mean((2, 4))),
    "most of each window": lambda x: flat(x.reshape(x.shape[0], 3, 2, 4, 3).max(2)) * x[:, 0, 0, :1],
    "joined to the images": lambda x: x.reshape(-1, 3).sum(-1).reshape(x.shape[0], -1) @ kernel(24, 2),
    "cut": lambda x: flat(x[:, 1:5:2, :, 1:]),
    "split": lambda x: flat(sum(jnp.split(x, 2, 1))),
    "one taken": lambda x: x[:, 2, 1] + x[:, -1, 0],
    "some taken": lambda x: flat(x[:, np.array([4, 0, 0])][..., np.array([2, 1])]),
    "turned round": lambda x: flat(x[:, ::-1, ::-1]),
    "padded": lambda x: flat(jnp.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=2.0)),
    "repeated": lambda x: flat(jnp.broadcast_to(x.mean((1, 2))[:, None], (x.shape[0], 4, 3))),
    "class token": class_token,
    "repeated numbers, joined": lambda x: flat(x) * jnp.broadcast_to(jnp.asarray(CHANNELS), (24, 3)).reshape(72),
    # sums
    "mean and deviation": lambda x: flat(nn.LayerNorm().apply({"params": {"scale": CHANNELS, "bias": CHANNELS}}, x)),
    "least and product": lambda x: x.min((1, 2)) + x.max((1, 2)) + jnp.prod(x, (1, 2)),
    "sum of what is repeated": lambda x: jnp.broadcast_to(x[:, :1], x.shape).sum((1, 2)),
    "maximum in windows": lambda x: flat(nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))),
    "maximum of what is padded": lambda x: flat(
        nn.max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf), (3, 3), (2, 2))
    ),
    "mean in windows": lambda x: flat(nn.avg_pool(x, (2, 2), (2, 2))),
    "mean in rows": lambda x: flat(nn.avg_pool(x, (3, 1), (1, 1), "SAME")),
    # layers
    "1x1": lambda x: flat(x @ MATRIX * normal(5) + normal(5)),
    "vector": lambda x: x.mean((1, 2)) @ MATRIX * normal(5) + normal(5),
    "convolution": lambda x: flat(nn.relu(convolved(x, CONV, 2, ((1, 1), (1, 1))) * normal(5) + normal(5))),
    "padded convolution": lambda x: flat(convolved(jnp.pad(x, ((0, 0), (1, 1), (2, 0), (0, 0))), CONV, 1, "VALID")),
    "depth-wise": lambda x: flat(convolved(x, DEPTHWISE, feature_group_count=3) @ MATRIX),
    "with gaps": lambda x: flat(convolved(x, CONV, rhs_dilation=(2, 1))),
    "one after the other": lambda x: convolved(nn.relu(convolved(x, CONV)), WIDE).mean((1, 2)),
    "read twice": lambda x: flat((y := x @ MATRIX) * normal(5) + y),
    "along the height": lambda x: flat(jnp.einsum("ph,nhwc->npwc", kernel(2, 6), x)),
    "over height and width": lambda x: flat(jnp.einsum("nhwc,hwd->ncd", x, kernel(6, 4, 2))),
    "several axes at once": lambda x: flat(jnp.einsum("nhwc,nhwd->ncd", x, x * 2)),
    "a matrix for each image": lambda x: flat(jnp.einsum("nrph,nhwc->nrpwc", CROPS * x[:, 0, 0, :2, None, None], x)),
    "over one element": lambda x: flat(x[..., :1] @ kernel(1, 4)),
    "attention": attention,
}  # fmt: skip


def run(graph, images, dimensions, image_type=TensorProto.FLOAT):
    model = model_of(graph, image_type, SIZE, dimensions, {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_jax_gives(name):
    global RANDOM
    RANDOM = np.random.default_rng(1)  # what a program draws is the same each time that it is traced
    images = np.random.default_rng(2).standard_normal((3, *SIZE, 3)).astype(np.float32)
    expected = np.asarray(jax.jit(PROGRAMS[name])(images))
    RANDOM = np.random.default_rng(1)
    graph = lower(PROGRAMS[name], SIZE, np.float32)
    for simplified in (False, True):
        if simplified:
            simplify(graph)
        theirs = run(graph, images.transpose(0, 3, 1, 2), expected.shape[1])
        np.testing.assert_allclose(theirs, expected, atol=2e-5, rtol=2e-5)
        np.testing.assert_allclose(
            run(graph, images[:1].transpose(0, 3, 1, 2), expected.shape[1]), expected[:1], atol=2e-5, rtol=2e-5
        )


def operators(program, dtype=np.float32):
    graph = lower(program, SIZE, dtype)
    simplify(graph)
    return graph, collections.Counter(node.operator for node in graph.nodes)


def test_batch_norm_and_padding_go_into_the_convolution_and_nothing_is_transposed():
    def network(x):
        for weights in (CONV, WIDE):
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            x = nn.relu((convolved(x, weights, 1, "VALID") - normal(5)) * lax.rsqrt(normal(5) ** 2 + 1e-5) + normal(5))
        return x.mean((1, 2))

    _, found = operators(network)
    assert found == {"Conv": 2, "Relu": 2, "ReduceMean": 1, "Reshape": 1}


def test_what_the_weights_alone_decide_is_computed():
    def network(x):
        order = jnp.take(jnp.asarray(CHANNELS), np.array([2, 0, 1]))
        repeated = jnp.broadcast_to(jnp.exp(order), (24, 3)).reshape(72)
        return flat(x) * repeated

    graph, found = operators(network)
    assert found == {"Transpose": 1, "Reshape": 1, "Mul": 1}
    assert sorted(array.shape for array in graph.constants.values()) == [(2,), (72,)]


def test_windows_side_by_side_are_a_pooling():
    _, found = operators(lambda x: x.reshape(x.shape[0], 3, 2, 2, 2, 3).mean((2, 4)).max((1, 2)))
    assert found == {"AveragePool": 1, "ReduceMax": 1, "Reshape": 1}


def test_what_is_computed_twice_or_never_read_is_one_node_or_none():
    _, found = operators(lambda x: (jnp.exp(x).sum((1, 2)) + jnp.exp(x).max((1, 2)), jnp.sin(x))[0])
    assert found["Exp"] == 1
    assert found["Sin"] == 0


def test_pixels_are_turned_once_as_they_come_in():
    graph, found = operators(lambda x: (x.astype(jnp.float32) / 255 @ MATRIX).mean((1, 2)), np.uint8)
    assert (graph.nodes[0].operator, found["Transpose"]) == ("Transpose", 1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    expected = (pixels / np.float32(255) @ MATRIX).mean((1, 2))
    np.testing.assert_allclose(run(graph, pixels, 5, TensorProto.UINT8), expected, atol=1e-5)


def test_in_half_maps_are_float16_and_sums_are_not():
    def network(x):
        y = nn.relu(convolved(x, CONV))
        return jnp.sum(y * y * np.float32(1e3), (1, 2))  # above 65,504, the largest number of float16

    graph, _ = operators(network)
    images = np.random.default_rng(0).standard_normal((2, *SIZE, 3)).astype(np.float32)
    halve(graph)
    assert any(array.dtype == np.float16 for array in graph.constants.values())
    theirs = run(graph, images.transpose(0, 3, 1, 2), 5)
    assert theirs.dtype == np.float32
    assert np.isfinite(theirs).all()

    def ends_in_a_map(x):
        return class_token(nn.relu(convolved(x, SQUARE[None, None])))

    expected = np.asarray(jax.jit(ends_in_a_map)(images))
    graph, _ = operators(ends_in_a_map)
    halve(graph)
    theirs = run(graph, images.transpose(0, 3, 1, 2), expected.shape[1])
    np.testing.assert_allclose(theirs, expected, atol=0.02)
    assert np.abs(theirs - expected).max() > 1e-6


def test_what_fails_on_the_way_is_refused_in_one_line(monkeypatch):
    def fails(*_):
        raise KeyError("nobody\nthought of it")

    monkeypatch.setitem(EMITTERS, "sin", fails)
    with pytest.raises(
        InputError, match=r"cannot be written as ONNX here \(KeyError: .*\); export it with --out"
    ) as told:
        lower(lambda x: flat(jnp.sin(x)), SIZE, np.float32)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            lambda x: jnp.sort(flat(x), -1),
            "'sort', which is not written as ONNX here; export it with --out=NAME.stable",
        ),
        (lambda x: flat(x) - flat(x).mean(0), "with the number of images, such as a mean over them"),
        (
            lambda x: flat(jnp.take(SQUARE, x[:, 0, 0].astype(int), axis=0, mode="clip")),
            "indexing whose indices depend on the image",
        ),
        (lambda x: flat(x) + flat(x[:1]), "a part of the images by their number"),
        (lambda x: flat(x) + flat(x[0:1, 1:]).sum(), "a part of the images by their number"),
        (lambda x: x[:, 0, 0] @ jax.random.normal(jax.random.key(0), (3, 5)), "random numbers, be they the same each"),
        (lambda x: flat(lax.conv_transpose(x, CONV, (2, 2), "SAME")), "a transposed convolution"),
        (lambda x: flat(x) if x.shape[0] > 2 else -flat(x), "cannot be traced for an open number of images .Inconcl"),
    ],
)
def test_what_has_no_operator_is_refused_with_the_way_out(program, words):
    with pytest.raises(InputError, match=words):
        lower(program, SIZE, np.float32)
