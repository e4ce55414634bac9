"""The array operations under the networks, each in XLA's fastest form, with its own gradient where that pays.

Images are NHWC. Every function is pure, traces under `jit` with a sharded batch, and has a plain form in
`tests/ops_test.py` that it must equal, gradients included. `jax.named_scope` marks the operations that
`reid_jax.models.summary` counts. What has a `jit` of its own is traced once a shape instead of once a layer.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves with zero padding of (k - 1) / 2 on both sides.

    `x` [n, h, w, ci], `kernel` [k, k, ci, co] with odd k -> [n, ceil(h / stride), ceil(w / stride), co].
    'SAME' would pad (0, 1) at stride 2 on even sizes and shift the grid by a pixel.
    """
    if kernel.shape[0] == 1 and stride == 1:
        return pointwise_conv(x, kernel[0, 0])
    return _spatial_conv(x, kernel, stride)


def _plain_conv(x, kernel, stride):
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _spatial_conv(x, kernel, stride):
    return _plain_conv(x, kernel, stride)


def _spatial_conv_forward(x, kernel, stride):
    return _plain_conv(x, kernel, stride), (x, kernel)


@functools.partial(jax.jit, static_argnums=0)
def _spatial_conv_backward(stride, saved, gradient):
    return lax.platform_dependent(
        *saved,
        gradient,
        cpu=functools.partial(_spatial_conv_gradients, stride=stride),
        default=lambda x, kernel, gradient: jax.vjp(lambda x, kernel: _plain_conv(x, kernel, stride), x, kernel)[1](
            gradient
        ),
    )


def _spatial_conv_gradients(x, kernel, gradient, *, stride):
    """Both gradients in forms that stay fast within a loop on a CPU, where XLA's own take 10 to 30 times longer."""
    size, inputs, outputs = kernel.shape[0], x.shape[-1], kernel.shape[-1]
    x, gradient = lax.optimization_barrier((x, gradient))  # else computed anew at each place of a window
    # To the kernel: at each place what a window's row reads there, times what the gradient is to each row of a window:
    # one matrix product, and not so narrow on one side as with whole windows. What is read of the padding is zero.
    pad, (_, height, width, _), (_, out_h, out_w, _) = (size - 1) // 2, x.shape, gradient.shape
    last_row, last_column = stride * (out_h - 1), stride * (out_w - 1)
    read, shifted = [], []
    for place in range(size):
        offset = place - pad
        columns = (-offset, offset + last_column + 1 - width, 0)
        read.append(_placed(x, place, size, (0, 0, 0), columns)[:, :, ::stride])
        rows = (offset, height - 1 - last_row - offset, stride - 1)
        shifted.append(_placed(gradient, place, size, rows, (0, 0, 0)))
    read, shifted = lax.optimization_barrier((sum(read), sum(shifted)))
    product = lax.dot_general(
        read.reshape(-1, size * inputs),
        shifted.reshape(-1, size * outputs),
        (((0,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    kernel_gradient = product.reshape(size, inputs, size, outputs).transpose(2, 0, 1, 3)
    if (size, stride) == (3, 2):  # a quarter of the products that the other form takes
        wide = _with_next(gradient)
        x_gradient = _unstride(lambda i, j, part: wide[part] @ kernel[i, j].T, *x.shape[1:3])
    else:
        spread = _spread(gradient, stride, *x.shape[1:3])
        x_gradient = _plain_conv(spread, kernel[::-1, ::-1].swapaxes(2, 3), 1)
    return x_gradient, kernel_gradient.astype(kernel.dtype)


_spatial_conv.defvjp(_spatial_conv_forward, _spatial_conv_backward)


def _placed(x, number, count, rows, columns):
    """Pads to `count` times the channels, `x` in the place that is given; rows and columns as for `lax.pad`.

    A sum of such arrays is their concatenation. XLA for a CPU makes it in one go, where it would write each piece of a
    concatenation to memory before.
    """
    channels = x.shape[-1]
    place = (number * channels, (count - 1 - number) * channels, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), rows, columns, place))


@jax.custom_vjp
def pointwise_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves 1x1: `x` [..., ci], `kernel` [ci, co] -> [..., co]."""
    return x @ kernel


def _pointwise_conv_forward(x, kernel):
    return x @ kernel, (x, kernel)


@jax.jit
def _pointwise_conv_backward(saved, gradient):
    x, kernel = saved
    # Without the barrier XLA computes whatever made the gradient (a whole BatchNorm's) twice, the second time
    # transposed, to feed the kernel's product.
    gradient = lax.optimization_barrier(gradient)
    x_rows, gradient_rows = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    x_gradient = lax.dot_general(gradient_rows, kernel, (((1,), (1,)), ((), ()))).reshape(x.shape)
    kernel_gradient = lax.dot_general(
        x_rows, gradient_rows, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
    )
    return x_gradient, kernel_gradient.astype(kernel.dtype)


pointwise_conv.defvjp(_pointwise_conv_forward, _pointwise_conv_backward)


def _padded(x):
    """Pads for a 3x3 window, in memory: who reads a number nine times should not check its place each time."""
    return lax.optimization_barrier(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))


def _windows(padded, stride):
    """The shifted views of a `_padded` array that a 3x3 window reads, in row-major order."""
    n, h, w, c = padded.shape
    return [
        lax.slice(padded, (0, i, j, 0), (n, h - 2 + i, w - 2 + j, c), (1, stride, stride, 1))
        for i in range(3)
        for j in range(3)
    ]


def _spread(gradient, stride, height, width):
    """Spreads a strided convolution's output gradient over the grid of its input, zeros between."""
    if stride == 1:
        return gradient
    out_h, out_w = gradient.shape[1:3]
    trail_h, trail_w = height - stride * (out_h - 1) - 1, width - stride * (out_w - 1) - 1
    return lax.pad(
        gradient,
        jnp.zeros((), gradient.dtype),
        ((0, 0, 0), (0, trail_h, stride - 1), (0, trail_w, stride - 1), (0, 0, 0)),
    )


def _with_next(x):
    """Adds a row and a column of zeros at the end, for `_unstride`."""
    return jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))


def _unstride(term, height, width):
    """Puts together the input's gradient [n, height, width, c] of a 3x3 window at stride 2.

    `term(i, j, part)` is what the input at row i and column j of each window gets; `part` takes, from an array
    `_with_next` of one number a window, those windows, or where the input's place lies in the next ones, these.
    """
    here, there = slice(None, -1), slice(1, None)
    # An even row is the middle of a window; an odd one the last of that window and the first of the next.
    even, odd = [(1, here)], [(2, here), (0, there)]
    places = [
        [sum(term(i, j, np.s_[:, rows, columns]) for i, rows in down for j, columns in right) for right in (even, odd)]
        for down in (even, odd)
    ]
    (n, h, w, c), places = places[0][0].shape, lax.optimization_barrier(places)
    rows = [jnp.stack(pair, 3).reshape(n, h, 2 * w, c) for pair in places]
    return jnp.stack(rows, 2).reshape(n, 2 * h, 2 * w, c)[:, :height, :width]


@functools.partial(jax.jit, static_argnums=2)
def _weighted_windows(padded, kernel, stride):
    with jax.named_scope("depthwise_conv"):
        flat = kernel.reshape(9, -1)
        total = None
        for window, weight in zip(_windows(padded, stride), flat, strict=True):
            total = window * weight if total is None else total + window * weight
        return total


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves each channel with its own 3x3 kernel, padding 1 on both sides.

    `x` [n, h, w, c], `kernel` [3, 3, 1, c] -> [n, ceil(h / stride), ceil(w / stride), c]. A sum of nine
    shifted products: XLA's grouped convolution is about ten times slower on a CPU, its gradients worse.
    """
    return _weighted_windows(_padded(x), kernel, stride)


@functools.partial(jax.jit, static_argnums=2)
def _depthwise_conv_forward(x, kernel, stride):
    padded = _padded(x)
    return _weighted_windows(padded, kernel, stride), (padded, kernel)


@functools.partial(jax.jit, static_argnums=0)
def _depthwise_conv_backward(stride, saved, gradient):
    padded, kernel = saved
    spread = _padded(_spread(gradient, stride, padded.shape[1] - 2, padded.shape[2] - 2))
    x_gradient = _weighted_windows(spread, kernel[::-1, ::-1], 1)
    kernel_gradient = lax.platform_dependent(
        padded,
        spread[:, 1:-1:stride, 1:-1:stride],  # what was padded, and need not be computed again
        cuda=functools.partial(_depthwise_kernel_gradient_in_runs, stride=stride),
        default=functools.partial(_depthwise_kernel_gradient, stride=stride),
    )
    return x_gradient, kernel_gradient.reshape(kernel.shape).astype(kernel.dtype)


def _depthwise_kernel_gradient(padded, gradient, *, stride):
    # One reduction with nine results reads `padded` and the gradient once for all nine sums. Over so few places a CPU's
    # compiler unrolls it and works on many channels at a time; over more it takes one number after another.
    n, h, w, c = gradient.shape
    rows, columns = _block(h, w)
    shape = (n, h // rows, rows, w // columns, columns, c)
    products = [product.reshape(shape) for product in _depthwise_products(padded, gradient, stride)]
    per_block = lax.optimization_barrier(_sums(products, (2, 4)))
    return jnp.stack([part.sum((0, 1, 2)) for part in per_block])


def _block(height, width, most=10):
    """The largest (rows, columns) of at most so many places that an image divides into."""
    fitting = [
        (rows, columns)
        for rows in range(1, most + 1)
        for columns in range(1, most // rows + 1)
        if height % rows == 0 and width % columns == 0
    ]
    return max(fitting, key=lambda block: (math.prod(block), block))


def _depthwise_kernel_gradient_in_runs(padded, gradient, *, stride):
    # XLA for a GPU writes the nine products to memory before a reduction like the other form's. Plain sums of few
    # numbers it computes nine at a time, from `padded` and the gradient, with a thread for each run and channel.
    _, height, width, c = gradient.shape
    run = math.gcd(height * width, 16)
    per_run = [product.reshape(-1, run, c).sum(1) for product in _depthwise_products(padded, gradient, stride)]
    return jnp.stack(_sums(lax.optimization_barrier(per_run), (0,)))


def _depthwise_products(padded, gradient, stride):
    wide = gradient.astype(jnp.float32)
    return [window.astype(jnp.float32) * wide for window in _windows(padded, stride)]


depthwise_conv.defvjp(_depthwise_conv_forward, _depthwise_conv_backward)


@jax.custom_vjp
def keep_gradient(x: jax.Array) -> jax.Array:
    """Returns `x`; whatever its gradient is summed or put together from is computed once, not by each that reads it."""
    return x


keep_gradient.defvjp(lambda x: (x, None), lambda _, gradient: (lax.optimization_barrier(gradient),))


def _sums(arrays, axes):
    """Sums float32 arrays of one shape over `axes` in one reduction with as many results."""
    zeros = [jnp.zeros((), jnp.float32)] * len(arrays)
    return lax.reduce(list(arrays), zeros, lambda left, right: [a + b for a, b in zip(left, right, strict=True)], axes)


def _channel_sums(first, second):
    """Sums two float32 arrays [n, ..., c] over all but the channels, in one reading of what they are made from."""
    axes = tuple(range(first.ndim - 1))
    return lax.platform_dependent(
        first,
        second,
        cuda=lambda first, second: _sums([first, second], axes),
        default=_channel_sums_in_runs,
    )


def _channel_sums_in_runs(first, second):
    # As few at a time as a CPU's compiler unrolls, so that both sums take one reading; within an image, which no two
    # devices share.
    c = first.shape[-1]
    run = math.gcd(math.prod(first.shape[1:-1]), 8)
    per_run = _sums([first.reshape(-1, run, c), second.reshape(-1, run, c)], (1,))
    return [part.sum(0) for part in lax.optimization_barrier(per_run)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, relu: bool, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises by the batch's own statistics, then applies ReLU if asked.

    `x` [..., c], `scale` and `bias` float32 [c] -> (y like `x`, mean float32 [c], biased variance float32 [c]).
    No gradient flows through the two statistics returned. Statistics are float32 whatever `x` is, and those of
    the global batch: under `jit` a sharded batch axis is summed across devices.
    """
    return _batch_norm_forward(x, scale, bias, relu, epsilon)[0]


@functools.partial(jax.jit, static_argnums=(3, 4))
def _batch_norm_forward(x, scale, bias, relu, epsilon):
    x = lax.optimization_barrier(x)  # keep x: recomputing it inside both sums and the output costs more
    count = x.size // x.shape[-1]
    wide = x.astype(jnp.float32)
    total, squares = _channel_sums(wide, wide * wide)
    mean = total / count
    variance = jnp.maximum(squares / count - mean * mean, 0.0)
    inverse = lax.rsqrt(variance + epsilon)
    y = normalise(x, scale * inverse, bias - mean * scale * inverse, relu)
    return (y, mean, variance), (x, y if relu else None, mean, inverse, scale)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _batch_norm_backward(relu, epsilon, saved, gradients):
    x, y, mean, inverse, scale = saved
    gradient = lax.optimization_barrier(gradients[0])  # else made anew by all that read it below
    count = x.size // x.shape[-1]
    if relu:
        gradient = jnp.where(y > 0, gradient, 0)
    wide_gradient, wide = gradient.astype(jnp.float32), x.astype(jnp.float32)
    bias_gradient, product = _channel_sums(wide_gradient, wide_gradient * wide)
    scale_gradient = inverse * (product - mean * bias_gradient)
    slope = scale * inverse
    pull = slope * inverse * scale_gradient / count
    x_gradient = slope * wide_gradient - pull * wide + (pull * mean - slope * bias_gradient / count)
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


@functools.partial(jax.jit, static_argnums=3)
def normalise(x: jax.Array, slope: jax.Array, offset: jax.Array, relu: bool) -> jax.Array:
    """Returns slope * x + offset per channel in `x`'s dtype, with ReLU if asked: BatchNorm with fixed statistics."""
    with jax.named_scope("batch_norm"):
        y = (x * slope + offset).astype(x.dtype)
    if relu:
        with jax.named_scope("relu"):
            y = jnp.maximum(y, 0)
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def permute(x: jax.Array, order: tuple[int, ...], axis: int = -1) -> jax.Array:
    """Takes `x` along `axis` in a permuted `order`; its gradient is the inverse permutation, not a scatter."""
    # The default mode would compare every place with the size, to fill what is outside with NaN.
    return jnp.take(x, np.asarray(order), axis, mode="clip", unique_indices=True)


permute.defvjp(
    lambda x, order, axis: (permute(x, order, axis), None),
    lambda order, axis, _, gradient: (permute(gradient, tuple(np.argsort(order).tolist()), axis),),
)


def l2_normalise(x: jax.Array, epsilon: float = 1e-24) -> jax.Array:
    """Scales rows [..., d] to unit Euclidean norm; a zero row stays zero and its gradient finite."""
    return x * lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), epsilon))


def max_pool(x: jax.Array) -> jax.Array:
    """Takes 3x3 maxima at stride 2 with padding 1: [n, h, w, c] -> [n, ceil(h / 2), ceil(w / 2), c].

    The first of equal maxima, in row-major order, gets the gradient. XLA's own window maximum and its gradient take one
    number at a time on a CPU.
    """
    return _max_pool(x, *x.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x, height, width):
    return functools.reduce(jnp.maximum, _pool_windows(x))


def _pool_windows(x):
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return _windows(lax.optimization_barrier(padded), 2)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _max_pool_forward(x, height, width):
    windows = _pool_windows(x)
    y = lax.optimization_barrier(functools.reduce(jnp.maximum, windows))
    winner = jnp.full(y.shape, len(windows) - 1)
    for number in reversed(range(len(windows) - 1)):
        winner = jnp.where(windows[number] == y, number, winner)
    return y, winner.astype(jnp.int8)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _max_pool_backward(height, width, winner, gradient):
    winner, gradient = _with_next(winner), _with_next(gradient)
    return (_unstride(lambda i, j, part: jnp.where(winner[part] == 3 * i + j, gradient[part], 0), height, width),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def average_pool(x: jax.Array) -> jax.Array:
    """Takes 3x3 means at stride 1, the padding's zeros counted: [n, h, w, c] -> the same shape."""
    n, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :h] + padded[:, 1 : h + 1] + padded[:, 2:]
    return (rows[:, :, :w] + rows[:, :, 1 : w + 1] + rows[:, :, 2:]) / jnp.asarray(9, x.dtype)


def interpolation_matrix(position: jax.Array, size: int) -> jax.Array:
    """Returns the weights of linear interpolation at `position` between `size` samples, zero outside.

    `position` float [..., m] in samples -> [..., m, size]; row i holds max(0, 1 - |position_i - j|). Its
    gradient to the position is that of bilinear sampling (Jaderberg et al., Spatial Transformer Networks, 2015).
    """
    return jnp.maximum(0.0, 1.0 - jnp.abs(position[..., None] - jnp.arange(size, dtype=position.dtype)))


def resize_matrix(target: int, size: int) -> jax.Array:
    """Returns the align-corners linear resize from `size` to `target` samples as a matrix [target, size]."""
    # min(): rounding may put the last position a hair past the last sample, which would lose weight there.
    return interpolation_matrix(jnp.minimum(jnp.linspace(0.0, size - 1.0, target), size - 1.0), size)


def resize(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes bilinearly with aligned corners: [n, h, w, c] -> [n, height, width, c]."""
    rows = resize_matrix(height, x.shape[1]).astype(x.dtype)
    columns = resize_matrix(width, x.shape[2]).astype(x.dtype)
    with jax.named_scope("interpolation"):
        x = jnp.einsum("ph,nhwc->npwc", rows, x, precision=lax.Precision.HIGHEST)
        return jnp.einsum("qw,npwc->npqc", columns, x, precision=lax.Precision.HIGHEST)


def _crop_matrix(centre, scale, size, target, align_corners):
    """Crop along one axis at the source's resolution, then resize: `centre` [...] -> [..., target, size]."""
    grid = jnp.linspace(-1.0, 1.0, size)
    if align_corners:
        position = (scale * grid + centre[..., None] + 1.0) / 2.0 * (size - 1)
    else:
        position = ((scale * grid * (size - 1) / size + centre[..., None] + 1.0) * size - 1.0) / 2.0
    return jnp.einsum(
        "ts,...sk->...tk",
        resize_matrix(target, size),
        interpolation_matrix(position, size),
        precision=lax.Precision.HIGHEST,
    )


def crop_regions(
    x: jax.Array, centre: jax.Array, height: int, width: int, scale: float = 0.25, align_corners: bool = True
) -> jax.Array:
    """Crops regions of full width and a `scale` part of the height by a spatial transformer.

    `x` [n, h, w, c], `centre` float32 [n, r, 2] as (tx, ty) with -1 and 1 the image's edges ->
    [n * r, height, width, c]. theta = [[1, 0, tx], [0, scale, ty]]; bilinear, zero outside, sampled at the
    source's resolution and then resized with aligned corners, as HA-CNN does (Li et al., CVPR 2018). With
    scale and translation only, sampling is separable: two small matrix products. `align_corners=False` samples
    on the half-pixel grid, as PyTorch's `grid_sample` does since 1.3.
    """
    n, h, w, c = x.shape
    with jax.named_scope("interpolation"):
        rows = _crop_matrix(centre[..., 1], scale, h, height, align_corners).astype(x.dtype)
        columns = _crop_matrix(centre[..., 0], 1.0, w, width, align_corners).astype(x.dtype)
        regions = jnp.einsum("nrph,nhwc->nrpwc", rows, x, precision=lax.Precision.HIGHEST)
        # A matrix for each row of a region: with one for all, both directions would transpose the rows in memory.
        columns = jnp.broadcast_to(columns[:, :, None], (*columns.shape[:2], height, *columns.shape[2:]))
        regions = jnp.einsum("nrpqw,nrpwc->nrpqc", columns, regions, precision=lax.Precision.HIGHEST)
    return regions.reshape(-1, height, width, c)
