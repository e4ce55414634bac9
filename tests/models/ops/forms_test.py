"""Which form runs on which platform, and that each platform's lowers there."""

import importlib

import jax
import jax.numpy as jnp
import pytest

from reid_jax.models import ops
from reid_jax.models.ops.forms import PLAIN, TABLE

FILES = {
    "map_dtype": "precision",
    "conv": "convolution",
    "pointwise_conv": "pointwise",
    "depthwise_conv": "depthwise",
    "batch_norm": "batch_normalisation",
    "batch_statistics": "batch_statistics",
    "scale_kernel": "kernel_scaling",
    "normalised_conv": "normalised_convolution",
    "max_pool": "max_pooling",
    "average_pool": "average_pooling",
    "keep_gradient": "kept_gradient",
    "concatenate": "concatenation",
    "interleave": "interleaving",
    "share": "sharing",
    "split": "splitting",
}
FORMS = {name: importlib.import_module(f"reid_jax.models.ops.{file}").FORMS for name, file in FILES.items()}

# As many pixels as fill a row of a TPU: they lie flat there.
IMAGE, KERNEL, DEPTHWISE = (2, 16, 8, 4), (3, 3, 4, 8), (3, 3, 1, 4)
OPERATIONS = {
    "conv": (lambda x, k: ops.conv(x, k, 2), IMAGE, KERNEL),
    "pointwise_conv": (ops.pointwise_conv, IMAGE, (4, 8)),
    "depthwise_conv": (ops.depthwise_conv, IMAGE, DEPTHWISE),
    "depthwise_conv at stride 2": (lambda x, k: ops.depthwise_conv(x, k, 2), IMAGE, DEPTHWISE),
    "batch_norm": (lambda x, s, b: ops.batch_norm(x, s, b, True, 1e-5)[0], IMAGE, (4,), (4,)),
    "normalised_conv": (
        lambda x, k, s, b: ops.normalised_conv(ops.depthwise_conv, x, k, ops.depthwise_conv(x, k), s, b, True),
        IMAGE,
        DEPTHWISE,
        (4,),
        (4,),
    ),
    "batch_statistics": (lambda x: jnp.multiply(*ops.batch_statistics(x)), IMAGE),
    "scale_kernel": (lambda *arrays: ops.conv(*ops.scale_kernel(*arrays)[:2]), IMAGE, (4,), (4,), (1, 1, 4, 8)),
    "normalise": (lambda x, s, b: ops.normalise(x, s, b, True), IMAGE, (4,), (4,)),
    "max_pool": (ops.max_pool, IMAGE),
    "average_pool": (ops.average_pool, IMAGE),
    "keep_gradient": (ops.keep_gradient, IMAGE),
    "concatenate": (lambda x, y: ops.concatenate([x, y]), IMAGE, IMAGE),
    "interleave": (ops.interleave, IMAGE, IMAGE),
    "share": (lambda x: jnp.multiply(*ops.share(x)), IMAGE),
    "split": (lambda x: ops.split(x, (1, 3))[1], IMAGE),
    "permute": (lambda x: ops.permute(x, (2, 0, 3, 1)), IMAGE),
    "l2_normalise": (ops.l2_normalise, (3, 4)),
    "resize": (lambda x: ops.resize(x, 12, 10), IMAGE),
    "crop_regions": (lambda x, c: ops.crop_regions(x, c, 6, 7), IMAGE, (2, 4, 2)),
}


def traced(name):
    """The traced computation of the sum and all gradients of an operation."""
    operation, *shapes = OPERATIONS[name]

    def total(*arrays):
        return jnp.sum(operation(*arrays))

    everything = jax.jit(jax.value_and_grad(total, range(len(shapes))))
    return everything.trace(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))


def test_the_table_names_forms_that_are_there():
    assert TABLE.keys() == FORMS.keys()
    for name, platforms in TABLE.items():
        assert PLAIN in FORMS[name]
        assert set(platforms.values()) <= FORMS[name].keys() - {PLAIN}


@pytest.mark.parametrize("platform", ["cpu", "gpu", "cuda", "rocm", "tpu", "neuron", ops.ANY])
@pytest.mark.parametrize("name", TABLE)
def test_each_platform_is_given_its_form(name, platform):
    device = "gpu" if platform in ("cuda", "rocm") else platform
    with ops.traced_for(platform):
        form = ops.forms.chosen(name, FORMS[name])
    assert form is FORMS[name][TABLE[name].get(device, PLAIN)]
    if device not in ("cpu", "gpu", "tpu"):
        assert form is FORMS[name][PLAIN]


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_and_its_gradients_lower_for_every_platform(name, platform):
    with ops.traced_for(platform):
        text = traced(name).lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo" in text
    assert "stablehlo.case" not in text  # one form alone


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_of_the_fast_forms_is_traced_where_nobody_has_measured_them(name):
    with ops.traced_for("neuron"):
        assert "optimization_barrier" not in str(traced(name).jaxpr)


def test_outside_of_a_context_it_is_the_platform_that_computes():
    with ops.traced_for(jax.default_backend()):
        expected = str(traced("depthwise_conv").jaxpr)
    assert str(traced("depthwise_conv").jaxpr) == expected


def test_what_was_traced_for_one_platform_serves_no_other():
    @jax.jit
    def convolve(x, kernel):
        return ops.depthwise_conv(x, kernel)

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (IMAGE, DEPTHWISE)]
    for platform, grouped in (("cpu", False), (ops.ANY, True), ("cpu", False), ("tpu", False)):
        with ops.traced_for(platform):
            text = convolve.trace(*shapes).lower(lowering_platforms=("cpu",)).as_text()
        assert ("stablehlo.convolution" in text) == grouped


def test_the_context_decorates_what_is_traced():
    @ops.traced_for(ops.ANY)
    def convolve(x, kernel):
        return ops.depthwise_conv(x, kernel)

    x, kernel = jnp.ones(IMAGE), jnp.ones(DEPTHWISE)
    for _ in range(2):
        assert "conv_general_dilated" in str(jax.make_jaxpr(convolve)(x, kernel))
    with ops.traced_for("cpu"):
        assert "conv_general_dilated" not in str(jax.make_jaxpr(ops.depthwise_conv)(x, kernel))
