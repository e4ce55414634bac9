"""Queries and galleries of small whole numbers, their exact distances, and the ranking by a full sort."""

import dataclasses

import numpy as np

from reid_jax.retrieval.protocol import Labels


def quantised_case(seed, nq=40, ng=300, identities=12, cameras=4, d=6, unknown=True):
    """Quantised embeddings: float32 distances are exact, and many are equal."""
    rng = np.random.default_rng(seed)
    query = rng.integers(-1, 2, (nq, d)).astype(np.float32)
    gallery = rng.integers(-1, 2, (ng, d)).astype(np.float32)
    labels = Labels(
        # Query identities beyond the gallery's have no match; gallery identity 0 is a distractor.
        query_identity=rng.integers(1, identities + 3, nq).astype(np.int32),
        query_camera=rng.integers(-1 if unknown else 0, cameras, nq).astype(np.int32),
        gallery_identity=rng.integers(0, identities, ng).astype(np.int32),
        gallery_camera=rng.integers(-1 if unknown else 0, cameras, ng).astype(np.int32),
    )
    return query, gallery, labels


def sorted_rows(query, gallery, labels):
    """For each query, by a full sort: (valid gallery in order, is it a match, distance), negatives first at ties."""
    query_identity, query_camera, gallery_identity, gallery_camera = dataclasses.astuple(labels)
    for q, identity, camera in zip(query, query_identity, query_camera, strict=True):
        row = []
        for j in range(len(gallery)):
            match = bool(gallery_identity[j] == identity)
            if match and camera != -1 and gallery_camera[j] == camera:
                continue
            squared = float(((q.astype(np.float64) - gallery[j].astype(np.float64)) ** 2).sum())
            row.append((squared, match, j))
        row.sort()  # False before True: at one distance the negatives come first
        yield [j for _, _, j in row], [m for _, m, _ in row], [s**0.5 for s, _, _ in row]


def euclidean(query, gallery):
    return lambda rows: np.sqrt(((query[rows, None] - gallery[None]) ** 2).sum(2))
