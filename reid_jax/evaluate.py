"""Evaluation of a network on a query and a gallery split: embed, rank, measure."""

import dataclasses
from typing import Any

import numpy as np
from jax.sharding import Mesh

from reid_jax.data.split import Split
from reid_jax.embed import embed
from reid_jax.retrieval.metrics import retrieval_metrics
from reid_jax.retrieval.ranking import Ranking, rank


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Embeddings float32 [n, d] of both splits, the ranking and its metrics (see `retrieval_metrics`)."""

    query: np.ndarray
    gallery: np.ndarray
    ranking: Ranking
    metrics: dict[str, float]


def evaluate(
    network, variables: dict[str, Any], query: Split, gallery: Split, mesh: Mesh, progress: bool = False
) -> Evaluation:
    """Embeds and ranks by the single-query protocol; raises InputError where no query has a match."""
    query_embedding = embed(network, variables, query.image, mesh, "embedding query" if progress else "")
    gallery_embedding = embed(network, variables, gallery.image, mesh, "embedding gallery" if progress else "")
    ranking = rank(
        query_embedding,
        gallery_embedding,
        query_identity=query.identity,
        query_camera=query.camera,
        gallery_identity=gallery.identity,
        gallery_camera=gallery.camera,
        mesh=mesh,
    )
    return Evaluation(query_embedding, gallery_embedding, ranking, retrieval_metrics(ranking))
