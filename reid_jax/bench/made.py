"""Images and weights that are made up: what a bench runs on."""

import dataclasses
from typing import Any

import jax
import numpy as np

from reid_jax.retrieval.protocol import Labels
from reid_jax.training.state import init_variables


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


@dataclasses.dataclass(frozen=True)
class Size:
    """Numbers of a data set's test split: queries, gallery items, identities with a match, cameras, distractors."""

    queries: int
    gallery: int
    identities: int
    cameras: int
    distractors: int = 0


SIZES = {
    "market1501": Size(3368, 15913, 750, 6, 2798),
    "msmt17": Size(11659, 82161, 3060, 15),
    "market1501_500k": Size(3368, 515913, 750, 6, 502798),
}


@dataclasses.dataclass(frozen=True)
class MadeEmbeddings:
    """Unit descriptors scattered around one direction an identity, with labels as a data set has them."""

    query: np.ndarray
    gallery: np.ndarray
    labels: Labels


def make_embeddings(size: Size, dimensions: int = 1024, seed: int = 0) -> MadeEmbeddings:
    """Draws float32 unit embeddings [n, dimensions] of `size`; distractors have identity 0 and no direction."""
    random = np.random.default_rng(seed)
    centre = random.standard_normal((size.identities + 1, dimensions), np.float32)
    centre[0] = 0

    def draw(identity: np.ndarray) -> np.ndarray:
        embedding = np.empty((len(identity), dimensions), np.float32)
        for start in range(0, len(identity), 4096):  # in parts: the whole noise would double the memory
            part = slice(start, start + 4096)
            rows = random.standard_normal((len(identity[part]), dimensions), np.float32)
            rows *= 1.5
            rows += centre[identity[part]]
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            embedding[part] = rows
        return embedding

    people = np.arange(size.gallery - size.distractors) % size.identities + 1
    gallery_identity = np.concatenate([people, np.zeros(size.distractors, np.int64)]).astype(np.int32)
    query_identity = (np.arange(size.queries) % size.identities + 1).astype(np.int32)
    query_camera = random.integers(0, size.cameras, size.queries, np.int32)
    gallery_camera = random.integers(0, size.cameras, size.gallery, np.int32)
    labels = Labels(query_identity, query_camera, gallery_identity, gallery_camera)
    return MadeEmbeddings(draw(query_identity), draw(gallery_identity), labels)
