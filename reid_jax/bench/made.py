"""Images and weights that are made up: what a bench runs on."""

from typing import Any

import jax
import numpy as np

from reid_jax.state import init_variables


def make_images(count: int, image_size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Draws uint8 images [count, *image_size, 3] of noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, *image_size, 3), np.uint8)


def make_variables(network, image_size: tuple[int, int], seed: int = 0) -> dict[str, Any]:
    """Initialises {'params', 'batch_stats'} of float32 arrays on the host as if they had been trained for a while.

    A fresh network places its regions alike for all images, and its BatchNorm does nothing in inference: descriptors
    of two implementations would agree although these parts differ.
    """
    variables = jax.device_get(init_variables(network, jax.random.key(seed), image_size))
    random = np.random.default_rng(seed)

    def draw(path, value):
        *folders, leaf = (entry.key for entry in path)
        if folders[0] == "batch_stats":
            # About what a convolution makes of a ReLU's output, so that the scale is kept from layer to layer.
            drawn = random.normal(0, 0.1, value.shape) if leaf == "mean" else random.uniform(0.1, 0.25, value.shape)
        elif "hard" in folders and leaf == "kernel":
            drawn = random.normal(0, 0.05, value.shape)
        elif "norm" in folders:
            drawn = value + random.normal(0, 0.1, value.shape)
        else:
            return value
        return drawn.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, variables)
