"""A small evaluation with images that tell who is in them, for the tests of the pictures."""

import numpy as np

from reid_jax import parallel
from reid_jax.data.images import Split
from reid_jax.embed import Items
from reid_jax.evaluate import score

QUERY_COLOR, GALLERY_COLOR = (0, 0, 200), (200, 200, 0)


def split(identity, folder, color, size=(160, 64)) -> Split:
    """Images of one colour; cameras count from 0, names carry identity and number."""
    n = len(identity)
    return Split(
        image=np.full((n, *size, 3), color, np.uint8),
        identity=np.array(identity, np.int32),
        camera=np.arange(n, dtype=np.int32),
        tracklet=np.full(n, -1, np.int32),
        origin=np.zeros(n, np.int32),
        name=np.array([f"{folder}/{i:04d}_é{j}.jpg" for j, i in enumerate(identity)]),
    )


def items(images: Split, embedding) -> Items:
    """One item an image."""
    return Items(np.float32(embedding), images.identity, images.camera, images.name, np.arange(len(images)))


class Watched:
    """A split that records which rows were decoded."""

    def __init__(self, images: Split):
        self.images, self.selected = images, []
        self.identity, self.camera, self.name, self.tracklet = (
            images.identity,
            images.camera,
            images.name,
            images.tracklet,
        )

    def __len__(self):
        return len(self.images)

    def select(self, index):
        self.selected.append(np.asarray(index).tolist())
        return self.images.select(index)


def small():
    """Three queries and four gallery items: (query, gallery, evaluation).

    Query 0 is nearest to gallery 1, another person, then to its own 0 and 3, then to the distractor 2; query 1 finds
    its own first; query 2 has no match.
    """
    query, gallery = split([5, 6, 7], "query", QUERY_COLOR), split([5, 6, 0, 5], "gallery", GALLERY_COLOR)
    gallery.camera[:] = [7, 8, -1, 9]
    query_embedding = np.float32([[0.5, 0.7, 0.1, 0.4], [0, 1, 0, 0], [0, 0, 1, 0]])
    evaluation = score(
        items(query, query_embedding), items(gallery, np.eye(4)), (4,), parallel.create_mesh(), multi_query=None
    )
    return query, gallery, evaluation


def crowd(identities=12, images=4, seed=0):
    """Queries and gallery of many identities around directions of their own: (query, gallery, evaluation)."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(1, identities + 1), images)
    centre = rng.normal(size=(identities, 8))
    embedding = centre[identity - 1] + 0.7 * rng.normal(size=(len(identity), 8))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    is_query = np.arange(len(identity)) % images == 0
    query = split(identity[is_query], "query", QUERY_COLOR, (64, 32))
    gallery = split(identity[~is_query], "gallery", GALLERY_COLOR, (64, 32))
    query.camera[:], gallery.camera[:] = 0, 1 + np.arange(len(gallery)) % 3
    evaluation = score(
        items(query, embedding[is_query]), items(gallery, embedding[~is_query]), (8,), parallel.create_mesh()
    )
    return query, gallery, evaluation
