"""Splits into what is ranked: an item an image, or a tracklet pooled over its frames, with its descriptor."""

import dataclasses

import numpy as np

from reid_jax.data.images import Images
from reid_jax.data.tracklets import items_of
from reid_jax.describe import Describer
from reid_jax.errors import InputError
from reid_jax.retrieval.aggregate import pool

_BLOCK = 2048  # images decoded at a time from a split on disk: bounds the memory for a split of any size


@dataclasses.dataclass(frozen=True)
class Items:
    """The queries or the gallery of an evaluation: what is ranked, an image each, or a tracklet pooled over its frames.

    embedding: float32 [n, d], the descriptors. identity, camera: int32 [n]. name: str [n]. row: int64 [n], the image of
    the split that shows the item, of a tracklet its middle frame.
    """

    embedding: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    name: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)

    def select(self, index: np.ndarray) -> "Items":
        """The items that `index` (int [m], or bool [n]) names, in its order."""
        return Items(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


def embed_split(encoder: Describer, images: Images, flip: bool = False, progress: str = "") -> np.ndarray:
    """Returns the descriptors of a split as `Describer.describe` does; one on disk is decoded while the devices work.

    `progress` names a bar on stderr where it is not empty. Memory beside the descriptors is that of a few thousand
    images. Raises InputError for images that cannot be decoded, and where a descriptor is not finite.
    """
    return encoder.describe_blocks((block.image for block in images.blocks(_BLOCK, progress)), flip)


def embed_items(encoder: Describer, images: Images, *, flip: bool = False, progress: str = "") -> Items:
    """Embeds a split and pools the frames of each tracklet: the mean of their descriptors, renormalised.

    Raises InputError as `embed_split` does, and for a tracklet whose frames differ in identity or camera.
    """
    embedding = embed_split(encoder, images, flip, progress)
    first, item = items_of(images.tracklet)
    if len(first) == len(images):
        return Items(embedding, images.identity, images.camera, images.name, first)
    frames = np.argsort(item, kind="stable")
    start = np.searchsorted(item[frames], np.arange(len(first) + 1))
    row = frames[(start[:-1] + start[1:] - 1) // 2]
    mixed = item[(images.identity != images.identity[row][item]) | (images.camera != images.camera[row][item])]
    if len(mixed):
        shown = row[mixed[0]]
        raise InputError(
            f"tracklet {images.tracklet[shown]} ({images.name[shown]}) has frames of several identities or "
            "cameras; number tracklets apart"
        )
    pooled = pool(embedding, item, encoder.streams)
    return Items(pooled, images.identity[row], images.camera[row], images.name[row], row)
