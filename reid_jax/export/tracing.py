"""A forward pass as JAX traces it, for any number of images and any platform."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import export

from reid_jax.errors import InputError, shown
from reid_jax.models import ops

BATCH = "batch"  # the number of images, as a symbolic size and as a dimension's name in the file


def images_of(image_size: tuple[int, int], dtype: Any) -> jax.ShapeDtypeStruct:
    """Any number of images [batch, h, w, 3] of `dtype`."""
    (batch,) = export.symbolic_shape(BATCH)
    return jax.ShapeDtypeStruct((batch, *image_size, 3), dtype)


def plain(forward: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """The compiled function, traced in its plain forms (`reid_jax.models.ops`)."""
    return jax.jit(ops.traced_for(ops.ANY)(forward))


@contextlib.contextmanager
def for_any_number() -> Iterator[None]:
    """Makes an InputError of what a network raises that cannot be traced for an open number of images."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a user's own code may raise anything
        reason = f"{type(error).__name__}: {shown(str(error).partition(chr(10))[0])}"
        raise InputError(
            f"the network cannot be traced for an open number of images ({reason}); nothing in it may depend on that "
            "number"
        ) from error
