"""1x1 convolution: a matrix product over the channels."""

import jax
import jax.numpy as jnp
from jax import lax

from reid_jax.models.ops.flat import as_image, fits, flat
from reid_jax.models.ops.forms import chosen
from reid_jax.models.ops.precision import product


def pointwise_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves 1x1: `x` [..., ci], `kernel` [ci, co] -> [..., co] in `x`'s dtype, multiplied in the kernel's."""
    return chosen("pointwise_conv", FORMS)(x, kernel)


def _plain(x, kernel):
    return product(x, kernel)


@jax.custom_vjp
def _with_row_gradients(x, kernel):
    """The plain form, with the kernel's gradient contracted over the rows as they lie: dK = X^T G for X [rows, ci]."""
    return product(x, kernel)


def _forward(x, kernel):
    return product(x, kernel), (x, kernel)


@jax.jit
def _pointwise_conv_backward(saved, gradient):
    x, kernel = saved
    # Without the barrier XLA computes whatever made the gradient (a whole BatchNorm's) twice, the second time
    # transposed, to feed the kernel's product.
    gradient = lax.optimization_barrier(gradient).astype(kernel.dtype)
    x_rows, gradient_rows = x.reshape(-1, x.shape[-1]).astype(kernel.dtype), gradient.reshape(-1, gradient.shape[-1])
    x_gradient = lax.dot_general(
        gradient_rows, kernel, (((1,), (1,)), ((), ())), preferred_element_type=x.dtype
    ).reshape(x.shape)
    kernel_gradient = lax.dot_general(
        x_rows, gradient_rows, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
    )
    return x_gradient, kernel_gradient.astype(kernel.dtype)


_with_row_gradients.defvjp(_forward, _pointwise_conv_backward)


def _flat(x, kernel):
    if not fits(x):
        return _plain(x, kernel)
    return as_image(jnp.einsum("nip,io->nop", flat(x), kernel), *x.shape[1:3])


FORMS = {"plain": _plain, "rows": _with_row_gradients, "flat": _flat}
