"""Convolution with an odd square kernel and symmetric padding."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from reid_jax.models.ops import windows
from reid_jax.models.ops.flat import as_image, fits, flat
from reid_jax.models.ops.forms import chosen
from reid_jax.models.ops.pointwise import pointwise_conv
from reid_jax.models.ops.precision import product


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves with zero padding of (k - 1) / 2 on both sides.

    `x` [n, h, w, ci], `kernel` [k, k, ci, co] with odd k -> [n, ceil(h / stride), ceil(w / stride), co] in `x`'s dtype,
    multiplied in the kernel's.
    'SAME' would pad (0, 1) at stride 2 on even sizes and shift the grid by a pixel.
    """
    if kernel.shape[0] == 1 and stride == 1:
        return pointwise_conv(x, kernel[0, 0])
    return chosen("conv", FORMS)(x, kernel, stride)


def _plain(x, kernel, stride):
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x.astype(kernel.dtype),
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        preferred_element_type=x.dtype,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _flat(x, kernel, stride):
    """The plain form, whose result is written flat where a gradient is taken.

    XLA for a TPU lays it out with the images in the lanes, few as they are, and the BatchNorm behind it likewise.
    """
    return _plain(x, kernel, stride)


def _written_flat(x, kernel, stride):
    y = _plain(x, kernel, stride)
    return as_image(lax.optimization_barrier(flat(y)), *y.shape[1:3]) if fits(y) else y


_flat.defvjp(
    lambda x, kernel, stride: jax.vjp(lambda *arrays: _written_flat(*arrays, stride), x, kernel),
    lambda stride, pull_back, gradient: pull_back(gradient),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _with_product_gradients(x, kernel, stride):
    """The plain form, with gradients that stay fast within a loop on a CPU, where XLA's own take 10 to 30 times longer.

    To the kernel, with padding d = (k - 1) / 2, output gradient g and stride s,

        dK[i, j] = sum over n, p, q of x[n, s p + i - d, s q + j - d]^T g[n, p, q]

    is one matrix product over the input's rows r and the output's columns q: with

        read_j[n, r, q]  = x[n, r, s q + j - d]                      zero outside of the image
        shifted_i[n, r, q] = g[n, p, q] where r = s p + i - d, else zero

    dK[i, j] = sum over n, r, q of read_j^T shifted_i. The k arrays read_j lie side by side in the channels, so do the
    k arrays shifted_i: the product is less narrow than one with whole windows of k^2 elements on one side.
    """
    return _plain(x, kernel, stride)


def _forward(x, kernel, stride):
    return _plain(x, kernel, stride), (x, kernel)


@functools.partial(jax.jit, static_argnums=0)
def _conv_backward(stride, saved, gradient):
    x, kernel = saved
    x, gradient = lax.optimization_barrier((x, gradient))  # else computed anew for each element of a window
    kernel_gradient = _kernel_gradient(x.astype(kernel.dtype), gradient.astype(kernel.dtype), kernel.shape, stride)
    if (kernel.shape[0], stride) == (3, 2):  # a quarter of the products that a spread gradient takes
        wide = windows.with_window_after(gradient)

        def term(i, j, those):
            return product(wide[those], kernel[i, j].T)

        x_gradient = windows.input_gradient_at_stride_2(term, *x.shape[1:3])
    else:
        spread = windows.spread(gradient, stride, *x.shape[1:3])
        x_gradient = _plain(spread, kernel[::-1, ::-1].swapaxes(2, 3), 1)
    return x_gradient, kernel_gradient.astype(kernel.dtype)


_with_product_gradients.defvjp(_forward, _conv_backward)


def _kernel_gradient(x, gradient, shape, stride):
    size, _, inputs, outputs = shape
    pad, (_, height, width, _), (_, out_h, out_w, _) = (size - 1) // 2, x.shape, gradient.shape
    last_row, last_column = stride * (out_h - 1), stride * (out_w - 1)
    read, shifted = [], []
    for tap in range(size):
        offset = tap - pad
        columns = (-offset, offset + last_column + 1 - width, 0)
        read.append(_in_slot(x, tap, size, (0, 0, 0), columns)[:, :, ::stride])
        rows = (offset, height - 1 - last_row - offset, stride - 1)
        shifted.append(_in_slot(gradient, tap, size, rows, (0, 0, 0)))
    read, shifted = lax.optimization_barrier((sum(read), sum(shifted)))
    product = lax.dot_general(
        read.reshape(-1, size * inputs),
        shifted.reshape(-1, size * outputs),
        (((0,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return product.reshape(size, inputs, size, outputs).transpose(2, 0, 1, 3)


def _in_slot(x, slot, slots, rows, columns):
    """Pads to `slots` times the channels, `x` in the given slot; rows and columns as for `lax.pad`.

    A sum of such arrays is their concatenation. XLA for a CPU makes it in one go, where it would write each piece of a
    concatenation to memory before.
    """
    channels = x.shape[-1]
    beside = (slot * channels, (slots - 1 - slot) * channels, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), rows, columns, beside))


FORMS = {"plain": _plain, "flat": _flat, "products": _with_product_gradients}
