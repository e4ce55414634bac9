"""Which form of an operation runs on which platform: one table, and how the platform is known.

A form decides what its forward pass keeps for its gradient, so it is chosen where JAX traces and differentiates, before
anything is lowered; no other form is traced. The platform is that of `traced_for`, else the one JAX computes on by
default. Any form gives the right values on any platform: a wrong choice costs time alone.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import jax

PLAIN = "plain"  # XLA's own operations, and the gradients that JAX derives from them
ANY = "any"  # no platform in particular: the plain forms throughout

# operation -> platform -> form. A platform that is not named was neither measured nor rehearsed, and gets
# the plain form.
TABLE: dict[str, dict[str, str]] = {
    "map_dtype": {"cpu": "wide"},
    "conv": {"cpu": "products", "tpu": "flat"},
    "pointwise_conv": {"cpu": "rows", "gpu": "rows", "tpu": "flat"},
    "depthwise_conv": {"cpu": "blocks", "gpu": "runs", "tpu": "flat"},
    "batch_norm": {"cpu": "runs", "gpu": "pairs", "tpu": "flat"},
    "batch_statistics": {"cpu": "runs", "gpu": "pairs", "tpu": "flat"},
    "scale_kernel": {"cpu": "folded", "gpu": "folded", "tpu": "folded"},
    "normalised_conv": {"gpu": "folded", "tpu": "flat"},
    "concatenate": {"tpu": "flat"},
    "interleave": {"tpu": "product"},
    "share": {"tpu": "flat"},
    "split": {"tpu": "flat"},
    "max_pool": {"cpu": "shifts", "gpu": "shifts"},
    "average_pool": {"cpu": "shifts", "gpu": "shifts"},
    "keep_gradient": {"cpu": "barrier", "gpu": "barrier"},
}

# Devices of both makers call their platform 'gpu', lowering tells them apart. XLA compiles for both by the same passes.
_SAME = {"cuda": "gpu", "rocm": "gpu"}

# (platform, devices), part of the key of JAX's caches: what is traced for one platform serves no other.
_hardware = jax.make_user_context()


@contextlib.contextmanager
def traced_for(platform: str, devices: int = 1) -> Iterator[None]:
    """Has what is traced within take the forms for `platform`: a context, or a decorator of the function to trace.

    `platform` is a device's ('cpu', 'gpu', 'tpu'), a lowering's ('cuda', 'rocm'), or `ANY`, for what has to serve
    several. `devices` is over how many of them the images of an array are spread. To compile for hardware that is not
    here:

        with traced_for("tpu"):
            lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("tpu",))
    """
    with _hardware((_SAME.get(platform, platform), devices)):
        yield


def chosen(operation: str, forms: Mapping[str, Callable]) -> Callable:
    """Returns the one of an operation's `forms` (name -> function) that the table gives to the platform."""
    platform, _ = _hardware.value or (jax.default_backend(), 1)
    return forms[TABLE[operation].get(platform, PLAIN)]


def images_on_a_device(images: int) -> int:
    """Of the `images` of an array, how many each device has."""
    _, devices = _hardware.value or (None, 1)
    return images // devices
