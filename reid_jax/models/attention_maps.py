"""What a network attends to: its soft maps and the boxes of its regions, level by level, as arrays to draw."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reid_jax.errors import InputError
from reid_jax.models.attention_network import AttentionNetwork

LEVELS = 3


class AttentionMaps(NamedTuple):
    """The attention of n images, an array for each of the three levels; all float32 on the host."""

    soft: tuple[np.ndarray, ...]  # [n, h, w], in [0.5, 1): the mean over the channels of the map that is multiplied in
    centres: tuple[np.ndarray, ...]  # [n, regions, 2], (tx, ty) in (-1, 1); empty for a network without regions
    boxes: tuple[np.ndarray, ...]  # [n, regions, 4], (left, top, right, bottom) in image pixels; empty without regions


def has_attention_maps(network: nn.Module, variables: dict[str, Any], image_size: tuple[int, int]) -> bool:
    """Whether there are maps to draw: those of `AttentionNetwork`, and of classes derived from it that keep them."""
    if not isinstance(network, AttentionNetwork):
        return False
    image = jax.ShapeDtypeStruct((1, *image_size, 3), np.float32)
    kept = jax.eval_shape(functools.partial(_intermediates, network), _arrays_of(variables), image)
    return all("soft_map" in kept.get(f"attention{level}", {}) for level in range(1, LEVELS + 1))


def attention_maps(network: nn.Module, variables: dict[str, Any], image: jax.Array) -> AttentionMaps:
    """Runs the network in inference mode on normalised images float [n, h, w, 3] and keeps what it attends to.

    The soft map of level l has the image's size over 2^(l + 1): 40 x 16, 20 x 8 and 10 x 4 for 160 x 64. Raises
    InputError for a network without attention maps, and for an image size that it does not take.
    """
    if not has_attention_maps(network, variables, image.shape[1:3]):
        raise InputError(f"{type(network).__name__} has no attention maps to draw; take weights of a network that has")
    soft, centres = _maps(network, _arrays_of(variables), image)
    soft, centres = (tuple(np.asarray(level) for level in levels) for levels in (soft, centres))
    boxes = tuple(
        region_boxes(level, number, image.shape[1:3], network.region_scale, network.crop_align_corners)
        for number, level in enumerate(centres, 1)
    )
    return AttentionMaps(soft, centres, boxes)


def region_boxes(
    centres: np.ndarray,
    level: int,
    image_size: tuple[int, int],
    scale: float = 0.25,
    align_corners: bool = True,
) -> np.ndarray:
    """Returns the part of the image that each region reads: float32 [..., 4], (left, top, right, bottom) in pixels.

    `centres` [..., 2] as (tx, ty); `image_size` (height, width). Level l crops a feature map of the image's size
    over 2^l (`reid_jax.models.ops.crop_regions`), each cell of which stands for a square of 2^l pixels. A box reaches
    from the outer edge of the first cell that is sampled to that of the last; what lies outside of the image reads 0.
    """
    cell = 2**level
    edges = []
    for centre, extent, size in ((centres[..., 0], 1.0, image_size[1]), (centres[..., 1], scale, image_size[0])):
        size //= cell
        for end, outer in ((-1.0, 0.0), (1.0, 1.0)):  # the grid's ends, and the edges there of a cell
            if align_corners:
                position = (extent * end + centre + 1.0) / 2.0 * (size - 1)
            else:
                position = ((extent * end * (size - 1) / size + centre + 1.0) * size - 1.0) / 2.0
            edges.append((position + outer) * cell)
    left, right, top, bottom = edges
    return np.stack([left, top, right, bottom], -1).astype(np.float32)


def _arrays_of(variables):
    return {key: variables.get(key, {}) for key in ("params", "batch_stats")}


def _intermediates(network, variables, image):
    _, state = network.apply(variables, image, train=False, mutable=["intermediates"])
    return state.get("intermediates", {})


@functools.partial(jax.jit, static_argnums=0)
def _maps(network, variables, image):
    kept = _intermediates(network, variables, image)
    sown = [kept[f"attention{level}"] for level in range(1, LEVELS + 1)]
    soft = [jnp.mean(level["soft_map"][0], -1, dtype=jnp.float32) for level in sown]
    return soft, [level["region_centres"][0] for level in sown if "region_centres" in level]
