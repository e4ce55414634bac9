"""A feature map cut into pieces of its channels."""

from collections.abc import Sequence

import jax
from jax import lax

from reid_jax.models.ops.flat import as_image, fits, flat
from reid_jax.models.ops.forms import chosen


def split(x: jax.Array, widths: Sequence[int]) -> list[jax.Array]:
    """Cuts [..., c] into arrays [..., width] for `widths` that sum to c; its gradient is one concatenation."""
    return chosen("split", FORMS)(x, widths)


def _plain(x, widths):
    return lax.split(x, widths, x.ndim - 1)


def _flat(x, widths):
    if not fits(x):
        return _plain(x, widths)
    return [as_image(each, *x.shape[1:3]) for each in lax.split(flat(x), widths, 1)]


FORMS = {"plain": _plain, "flat": _flat}
