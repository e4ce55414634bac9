"""A network that describes an image by its first pixel: tests of verbs know its descriptors without computing any."""

import types

import jax.numpy as jnp

from reid_jax import parallel
from reid_jax.describe import Encoder


class FirstPixel:
    """The first pixel, normalised as the network gets it, as a unit vector of three numbers."""

    streams = (3,)

    def apply(self, variables, image, train):
        del variables, train
        pixel = image[:, 0, 0]
        return types.SimpleNamespace(embedding=pixel / jnp.linalg.norm(pixel, axis=1, keepdims=True))


def first_pixel_encoder() -> Encoder:
    """Its encoder, of images of 16x8 pixels."""
    return Encoder(FirstPixel(), {"params": {}, "batch_stats": {}}, (16, 8), parallel.create_mesh())
