"""Depth-wise 3x3 convolution: each channel with a kernel of its own."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from reid_jax.models.ops import windows
from reid_jax.models.ops.flat import as_image, fits, flat, together
from reid_jax.models.ops.forms import chosen
from reid_jax.models.ops.sums import sums


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves each channel with its own 3x3 kernel, padding 1 on both sides.

    `x` [n, h, w, c], `kernel` [3, 3, 1, c] -> [n, ceil(h / stride), ceil(w / stride), c], multiplied in `x`'s dtype: a
    channel's nine products are no matrix's.
    """
    return chosen("depthwise_conv", FORMS)(x, kernel, stride)


def _plain(x, kernel, stride):
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (stride, stride),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _shifted_products(x, kernel, stride, kernel_gradient, pad):
    """The sum of nine shifted products: XLA's grouped convolution is ten times slower on a CPU, its gradients worse.

    The input's gradient is the same sum, of the output's gradient (spread over the input's grid) with the kernel turned
    round. The kernel's, with output gradient g and stride s, is a sum of products for each channel,

        dK[i, j] = sum over n, p, q of x[n, s p + i - 1, s q + j - 1] g[n, p, q]

    which `kernel_gradient(padded x, g, stride=s)` -> float32 [9, c] takes in the way that suits a platform. `pad` pads
    where no gradient is taken; one that is to come keeps what `windows.padded` wrote.
    """
    return _weighted_sum(pad(x), kernel, stride)


@functools.partial(jax.jit, static_argnums=2)
def _weighted_sum(padded, kernel, stride):
    with jax.named_scope("depthwise_conv"):
        total = None
        for view, weight in zip(windows.shifted_views(padded, stride), kernel.reshape(9, -1), strict=True):
            total = view * weight if total is None else total + view * weight
        return total


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _depthwise_conv_forward(x, kernel, stride, kernel_gradient, pad):
    padded = windows.padded(x)
    return _weighted_sum(padded, kernel, stride), (padded, kernel)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _depthwise_conv_backward(stride, kernel_gradient, pad, saved, gradient):
    padded, kernel = saved
    spread = windows.padded(windows.spread(gradient, stride, padded.shape[1] - 2, padded.shape[2] - 2))
    x_gradient = _weighted_sum(spread, kernel[::-1, ::-1], 1)
    # What was padded, and need not be computed again.
    to_kernel = kernel_gradient(padded, spread[:, 1:-1:stride, 1:-1:stride], stride=stride)
    return x_gradient, to_kernel.reshape(kernel.shape).astype(kernel.dtype)


_shifted_products.defvjp(_depthwise_conv_forward, _depthwise_conv_backward)


def _products(padded, gradient, stride):
    wide = gradient.astype(jnp.float32)
    return [view.astype(jnp.float32) * wide for view in windows.shifted_views(padded, stride)]


def _sum_by_blocks(padded, gradient, *, stride):
    # One reduction with nine results reads `padded` and the gradient once for all nine sums. Over so few elements a
    # CPU's compiler unrolls it and works on many channels at a time; over more it takes one element after another.
    n, h, w, c = gradient.shape
    rows, columns = _block(h, w)
    shape = (n, h // rows, rows, w // columns, columns, c)
    products = [product.reshape(shape) for product in _products(padded, gradient, stride)]
    by_block = lax.optimization_barrier(sums(products, (2, 4)))
    return jnp.stack([blocks.sum((0, 1, 2)) for blocks in by_block])


def _block(height, width, most=10):
    """The largest (rows, columns) of at most so many pixels that an image divides into."""
    fitting = [
        (rows, columns)
        for rows in range(1, most + 1)
        for columns in range(1, most // rows + 1)
        if height % rows == 0 and width % columns == 0
    ]
    return max(fitting, key=lambda block: (math.prod(block), block))


def _sum_by_runs(padded, gradient, *, stride):
    # XLA for a GPU writes the nine products to memory before a reduction like the other form's. Plain sums of few
    # elements it computes nine at a time, from `padded` and the gradient, with a thread for each run and channel.
    _, height, width, c = gradient.shape
    run = math.gcd(height * width, 16)
    by_run = [product.reshape(-1, run, c).sum(1) for product in _products(padded, gradient, stride)]
    by_run = lax.optimization_barrier(by_run)
    # Of one array: a reduction with nine results asks for more shared memory than jaxlib 0.10 finds on a device.
    return jnp.stack(by_run).sum(1)


def _padded_as_read(x):
    # A GPU's threads have time to check whether what they read lies within the image, and a copy is memory's.
    return jnp.pad(lax.optimization_barrier(x), ((0, 0), (1, 1), (1, 1), (0, 0)))


def _shifted_by(kernel_gradient, pad):
    return lambda x, kernel, stride: _shifted_products(x, kernel, stride, kernel_gradient, pad)


def _flat(x, kernel, stride):
    return _plain(x, kernel, stride) if not fits(x) else _with_turned_gradients(x, kernel, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _with_turned_gradients(x, kernel, stride):
    """Nine products shifted along the row of pixels where no gradient is taken, else `_turned`.

    A step down is then one of w pixels to the right. What a step to the left or right brings in from the row beyond is
    set to 0.
    """
    if stride != 1:
        return _plain(x, kernel, stride)
    height, width = x.shape[1:3]
    pixels, beside, taps = height * width, width + 1, kernel.reshape(9, -1, 1)
    padded = jnp.pad(flat(x), ((0, 0), (0, 0), (beside, beside)))
    column = np.arange(pixels) % width
    total = 0
    for j, inside in enumerate((column > 0, None, column < width - 1)):
        views = [lax.slice_in_dim(padded, start, start + pixels, axis=2) for start in range(j, j + 3 * width, width)]
        sum_of_column = sum(view * taps[3 * i + j] for i, view in enumerate(views))
        total += sum_of_column if inside is None else jnp.where(inside, sum_of_column, 0)
    return as_image(total, height, width)


def _turned(x, kernel, stride):
    """XLA's own, of maps that come and go with pixels in the lanes and are convolved with channels there.

    A step across the map is then one from row to row of a TPU's memory, where pixels would have to be moved along the
    lanes for each of the nine products, and for the gradients three times as many. Several images stand together, so
    that narrow maps fill the lanes.
    """
    n, height, width, c = x.shape
    group = together(n, c)
    # Kept as they are written: XLA would turn them round after widening them to float32 for the sums of a BatchNorm.
    x = lax.optimization_barrier(flat(x, group))
    y = _plain(as_image(x, height, width), jnp.tile(kernel, group), stride)
    return as_image(lax.optimization_barrier(flat(y)), *y.shape[1:3], group)


_with_turned_gradients.defvjp(
    lambda x, kernel, stride: jax.vjp(lambda *arrays: _turned(*arrays, stride), x, kernel),
    lambda stride, pull_back, gradient: pull_back(gradient),
)


FORMS = {
    "plain": _plain,
    "flat": _flat,
    "blocks": _shifted_by(_sum_by_blocks, windows.padded),
    "runs": _shifted_by(_sum_by_runs, _padded_as_read),
}
