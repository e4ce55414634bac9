"""BatchNorm statistics of weights that were never trained with: averaged and sampled ones.

They are those of the images that training sees, augmented: the black borders of padded and shifted images alone move
them so far that un-augmented ones halve a network's mAP.

The usual way (Izmailov et al., UAI 2018) is one pass in which each layer normalises by its batch's own statistics, as
in training, while the moments of what it reads are merged over all batches by their counts (Chan, Golub and LeVeque,
1983), never by decay. Batches may differ in size; what fills a smaller one up to their common shape is in no number.
What a layer reads then depends a little on which images shared a batch: the more, the smaller batches are, and the more
alike their images. Data sets list a person's images together, so batches are shuffled.

Exact statistics do not depend on batches: every layer's input is computed with the exact statistics of the layers
before it. Each pass with fixed statistics makes at least one more layer exact, so a network with L BatchNorm layers in
a row needs at most L more passes.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.data.augment import Augmentation, augment, normalise
from reid_jax.errors import InputError
from reid_jax.models.blocks import Normalisation

BATCH = 256  # images: large enough that who shares a batch hardly matters
_SEED = 0  # the same batches and augmentation each time: the statistics are a function of weights and images


def recalibrate(
    network,
    params: Any,
    image: jax.Array,
    mesh: Mesh,
    *,
    augmentation: Augmentation | None = None,
    batch: int = BATCH,
    exact: bool = False,
) -> dict[str, Any]:
    """Returns the BatchNorm statistics of `params` over images.

    Args:
      network, params: as for `network.apply`.
      image: uint8 [n, h, w, 3] or `ResidentImages`, the training images, on the host or the device.
      mesh: the images of a batch are spread over it. Batches do not depend on it, and need not divide.
      augmentation: that of training, drawn once for each image, by its number; None takes the images as they are.
      batch: images that are normalised together, at least; the rest of n is spread over the batches.
      exact: repeat with fixed statistics until they no longer change: the result is independent of `batch` and of the
        order of the images, but for rounding, at the cost of a pass for each layer of the longest chain.

    Returns:
      batch_stats like the network's, float32, biased variances.

    Raises:
      InputError: there are fewer than two images, `batch` is below 1, or the network has statistics of a layer that is
        neither `flax.linen.BatchNorm` nor a `reid_jax.models.blocks.Normalisation`.
    """
    if len(image) < 2:
        raise InputError(f"BatchNorm statistics were asked for over {len(image)} images; give at least 2")
    if batch < 1:
        raise InputError(f"BatchNorm statistics were asked for over batches of {batch} images; give at least 1")
    rows = _batches(len(image), batch)
    image = jax.device_put(image, parallel.replicated(mesh))
    params = jax.device_put(params, parallel.replicated(mesh))
    statistics = _pass(network, params, None, image, rows, augmentation, mesh)
    if exact:
        # Before a layer is exact it may swing far, even to NaN; each pass starts from what it reads, so none stays.
        for _ in range(len(jax.tree.leaves(statistics)) // 2):
            before, statistics = statistics, _pass(network, params, statistics, image, rows, augmentation, mesh)
            if _unchanged(before, statistics):
                break
    return statistics


def _batches(count: int, batch: int) -> np.ndarray:
    """Shuffles the numbers of images into batches that differ in size by one at most: int32 [b, m], -1 for none."""
    order = np.random.default_rng(_SEED).permutation(count).astype(np.int32)
    parts = np.array_split(order, max(1, count // batch))
    return np.stack([np.pad(part, (0, len(parts[0]) - len(part)), constant_values=-1) for part in parts])


@functools.partial(jax.jit, static_argnums=(0, 5, 6))
def _pass(network, params, statistics, image, rows, augmentation, mesh):
    """One pass over `_batches`, normalised by their own statistics where None are given."""

    def of_batch(row):
        kept = jnp.asarray(row >= 0, jnp.float32)
        # One shape for all: a place that is left over holds the batch's first image again, with weight 0.
        row = jax.lax.with_sharding_constraint(jnp.where(row >= 0, row, row[0]), parallel.by_example(mesh))
        if augmentation is None:
            chosen = normalise(image[row])
        else:
            chosen = augment(jax.random.key(_SEED), image[row], augmentation, row)
        return _moments(network, params, statistics, chosen, kept)

    def merge(total, row):
        return jax.tree.map(_merged, total, of_batch(row), is_leaf=_is_moment), None

    nothing = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(of_batch, rows[0]))
    merged, _ = jax.lax.scan(merge, nothing, rows)
    result = jax.tree.map(lambda m: {"mean": m[1], "var": m[2] / m[0]}, unflatten_dict(merged), is_leaf=_is_moment)
    return jax.lax.with_sharding_constraint(result, parallel.replicated(mesh))


def _moments(network, params, statistics, image, kept) -> dict[tuple[str, ...], tuple]:
    """(count, mean, sum of squared deviations) of what every BatchNorm reads, by its path; over the images `kept`."""
    found: dict[tuple[str, ...], tuple] = {}

    def record(call, arguments, options, context):
        module = context.module
        if isinstance(module, Normalisation | nn.BatchNorm) and context.method_name == "__call__":
            count, mean, squares = moments = _moments_read(module, arguments, kept)
            # A layer that is called again, its weights shared, reads more of the same.
            found[module.path] = _merged(found[module.path], moments) if module.path in found else moments
            if statistics is None:
                module.put_variable("batch_stats", "mean", mean)
                module.put_variable("batch_stats", "var", squares / count)
            # Without `scaled`: what is read was computed, and need not be again with a slope.
            arguments, options = arguments[:3], {name: each for name, each in options.items() if name != "scaled"}
        return call(*arguments, **options)

    # Always train=False: training mode could not leave out the images that fill a batch up. In the first pass `record`
    # puts the batch's own statistics where fixed ones would be.
    variables = {"params": params, "batch_stats": {} if statistics is None else statistics}
    with nn.intercept_methods(record):
        _, changed = network.apply(variables, image, train=False, mutable=["batch_stats"])
    for path in flatten_dict(changed.get("batch_stats", {})):
        if path[:-1] not in found:
            raise InputError(
                f"the statistics {'/'.join(path)} cannot be computed anew: they belong to no BatchNorm of "
                "flax.linen or reid_jax.models.blocks"
            )
    return found


def _moments_read(module: Normalisation | nn.BatchNorm, arguments: tuple, kept: jax.Array) -> tuple:
    """(count, mean, sum of squared deviations), by channel as in the module's statistics, of what it is called with."""
    x = arguments[0].astype(jnp.float32)
    if len(x) % len(kept):
        raise InputError(
            f"{'/'.join(module.path)} normalises an array of shape {list(x.shape)} for {len(kept)} images; BatchNorm "
            "statistics are computed anew where images are the first axis"
        )
    shift = None
    if isinstance(module, Normalisation):
        shift = arguments[2] if len(arguments) > 2 else None
    else:
        x = jnp.moveaxis(x, module.axis, -1)
    # Regions are folded into the batch: an image then has several rows, one after the other.
    weight = jnp.repeat(kept, x.shape[0] // len(kept)).reshape(-1, *[1] * (x.ndim - 1))
    axes = tuple(range(x.ndim - 1))
    count = weight.sum() * (x.size // (x.shape[0] * x.shape[-1]))
    mean = jnp.sum(weight * x, axes) / count
    squares = jnp.sum(weight * (x - mean) ** 2, axes)
    if shift is not None:
        mean = mean + shift
    if isinstance(module, Normalisation):
        mean, squares = module.in_plain_order(mean), module.in_plain_order(squares)
    return count, mean, squares


def _unchanged(before, after) -> bool:
    pairs = zip(jax.tree.leaves(jax.device_get(before)), jax.tree.leaves(jax.device_get(after)), strict=True)
    return all(np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in pairs)


def _is_moment(node: Any) -> bool:
    return isinstance(node, tuple)


def _merged(a: tuple, b: tuple) -> tuple:
    count = a[0] + b[0]
    step = b[1] - a[1]
    return count, a[1] + step * (b[0] / count), a[2] + b[2] + step**2 * (a[0] * b[0] / count)
