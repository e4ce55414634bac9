"""Evaluation of a network on a query and a gallery split: embed, pool, rank, measure."""

import dataclasses
import functools

import numpy as np
from jax.sharding import Mesh

from reid_jax.data.images import Images
from reid_jax.describe import Describer
from reid_jax.embed import Items, embed_items
from reid_jax.errors import InputError
from reid_jax.retrieval import metrics as metrics_module
from reid_jax.retrieval import nearest as nearest_module
from reid_jax.retrieval import ranking as ranking_module
from reid_jax.retrieval import verification as verification_module
from reid_jax.retrieval.aggregate import pool
from reid_jax.retrieval.expansion import expand_queries
from reid_jax.retrieval.pairs import Distances
from reid_jax.retrieval.protocol import UNKNOWN_CAMERA, Labels
from reid_jax.retrieval.ranking import Ranking
from reid_jax.retrieval.rerank import rerank
from reid_jax.retrieval.single_shot import single_shot_cmc, single_shot_metrics, single_shot_ranks
from reid_jax.retrieval.verification import Verification


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How items are described, compared and scored; the default is single query without after-processing.

    Fields:
      flip: a descriptor is the mean of the image's and its mirror image's.
      multi_query: a query is the mean of all images of its identity by its camera.
      query_expansion: each query is averaged with so many nearest gallery items; 0 for none.
      rerank: k-reciprocal re-ranking with k1, k2 and the weight of the original distance.
      single_gallery_shot: CUHK03's classic protocol, one gallery image of each identity, drawn `draws` times by `seed`.
    Raises InputError for single gallery shot with re-ranking, whose distances need the whole gallery.
    """

    flip: bool = False
    multi_query: bool = False
    query_expansion: int = 0
    rerank: bool = False
    k1: int = 20
    k2: int = 6
    rerank_weight: float = 0.3
    single_gallery_shot: bool = False
    draws: int = 10
    seed: int = 0

    def __post_init__(self):
        if self.single_gallery_shot and self.rerank:
            raise InputError("single gallery shot is not defined for re-ranked distances; ask for one of the two")

    def __str__(self) -> str:
        """What a table says beside its figures."""
        after = []
        if self.flip:
            after.append("flipped images averaged")
        if self.query_expansion:
            after.append(f"query expansion over {self.query_expansion}")
        if self.rerank:
            after.append(f"k-reciprocal re-ranking (k1 {self.k1}, k2 {self.k2}, weight {self.rerank_weight:g})")
        base = "multi-query" if self.multi_query else "single query"
        if self.single_gallery_shot:
            base += f", single gallery shot, mean of {self.draws} draws (seed {self.seed})"
        return f"{base}; after-processing: {', '.join(after) or 'none'}"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Queries and gallery, their ranking, and its metrics: those of `retrieval_metrics`, or of `single_shot_metrics`.

    `distances` are what was ranked by, where that is not the Euclidean distance of the embeddings. By the protocol of
    single gallery shot, `drawn_ranks` are those of the first match in each draw, which the metrics are of; `ranking` is
    of the whole gallery all the same.
    """

    query: Items
    gallery: Items
    ranking: Ranking
    metrics: dict[str, float]
    protocol: Protocol
    mesh: Mesh
    distances: Distances | None = None
    drawn_ranks: np.ndarray | None = None

    def cmc(self, max_rank: int) -> np.ndarray:
        """The CMC curve by the protocol, of which the metrics are points: float64 [max_rank], from rank 1."""
        if self.drawn_ranks is not None:
            return single_shot_cmc(self.drawn_ranks, max_rank)
        return metrics_module.cmc(self.ranking, max_rank)

    @functools.cached_property
    def verification(self) -> Verification:
        """The same-or-different decision at every threshold, by the distance that was ranked by."""
        labels = Labels.of(self.query, self.gallery)
        if self.distances is not None:
            return verification_module.verify_distances(self.distances, labels, self.ranking)
        return verification_module.verify(
            self.query.embedding, self.gallery.embedding, labels, self.ranking, mesh=self.mesh
        )

    def nearest(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k nearest valid gallery items of the queries `rows`, by the distance that was ranked by.

        Returns index int32 [len(rows), k], nearest first and -1 where there are fewer, and distance float32 of the
        same shape, inf there.
        """
        rows = np.asarray(rows)
        if self.distances is not None:
            labels = Labels.of(self.query, self.gallery)
            return nearest_module.nearest_distances(self.distances, labels, k, rows=rows)
        query = self.query.select(rows)
        labels = Labels.of(query, self.gallery)
        return nearest_module.nearest(query.embedding, self.gallery.embedding, labels, k, mesh=self.mesh)


def evaluate(
    encoder: Describer,
    query: Images,
    gallery: Images,
    *,
    protocol: Protocol = Protocol(),  # noqa: B008 - frozen
    multi_query: Images | None = None,
    progress: bool = False,
) -> Evaluation:
    """Embeds query and gallery, ranks the gallery for each query, and measures.

    `multi_query` are the images that a query is pooled over, itself among them (Market-1501's gt_bbox, as its authors
    do); without them multi-query takes the query and the gallery images of its identity and camera, which the protocol
    removes from its ranking anyway.

    Raises InputError where no query has a match, or an image cannot be decoded.
    """

    def items(images: Images, name: str) -> Items:
        return embed_items(encoder, images, flip=protocol.flip, progress=name if progress else "")

    query_items, gallery_items = items(query, "embedding query"), items(gallery, "embedding gallery")
    pooled = None
    if protocol.multi_query and multi_query is not None:
        pooled = items(multi_query, "embedding multi-query")
    return score(query_items, gallery_items, encoder.streams, encoder.mesh, protocol=protocol, multi_query=pooled)


def score(
    query: Items,
    gallery: Items,
    streams: tuple[int, ...],
    mesh: Mesh,
    *,
    protocol: Protocol = Protocol(),  # noqa: B008 - frozen
    multi_query: Items | None = None,
) -> Evaluation:
    """Ranks items and measures, as `protocol` says; `streams` are the widths that a descriptor concatenates."""
    if protocol.multi_query:
        query = _pool_queries(query, gallery if multi_query is None else multi_query, streams, multi_query is not None)
    labels = Labels.of(query, gallery)
    if protocol.query_expansion:
        expanded = expand_queries(
            query.embedding, gallery.embedding, labels, protocol.query_expansion, streams=streams, mesh=mesh
        )
        query = dataclasses.replace(query, embedding=expanded)
    distances = drawn_ranks = None
    if protocol.rerank:
        distances = rerank(
            query.embedding,
            gallery.embedding,
            k1=protocol.k1,
            k2=protocol.k2,
            weight=protocol.rerank_weight,
            mesh=mesh,
        )
        ranking = ranking_module.rank_distances(distances, labels)
    else:
        ranking = ranking_module.rank(query.embedding, gallery.embedding, labels, mesh=mesh)
    if protocol.single_gallery_shot:
        drawn_ranks = single_shot_ranks(
            query.embedding, gallery.embedding, labels, repeats=protocol.draws, seed=protocol.seed, mesh=mesh
        )
        metrics = single_shot_metrics(drawn_ranks)
    else:
        metrics = metrics_module.retrieval_metrics(ranking)
    return Evaluation(query, gallery, ranking, metrics, protocol, mesh, distances, drawn_ranks)


def _pool_queries(query: Items, others: Items, streams: tuple[int, ...], complete: bool) -> Items:
    """Makes each query the mean of all items of its identity and camera, among `others` and the queries.

    `others` that are `complete` show the queries, too, as gt_bbox does: a query that has any there adds nothing more.
    """
    if (query.camera == UNKNOWN_CAMERA).any():
        raise InputError(
            "multi-query pools the images of a query's own camera, but cameras are unknown; use single query, or "
            "data whose names tell the camera"
        )
    # One group an identity and camera, numbered over both sides.
    pairs = np.stack([np.r_[query.identity, others.identity], np.r_[query.camera, others.camera]])
    group = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
    query_group, others_group = group[: len(query)], group[len(query) :]
    pooled_others = np.isin(others_group, query_group)  # a gallery may be large: only what is pooled is copied
    pooled_queries = ~np.isin(query_group, others_group) if complete else np.ones(len(query), bool)
    embedding = np.concatenate([others.embedding[pooled_others], query.embedding[pooled_queries]])
    groups, member_of = np.unique(
        np.concatenate([others_group[pooled_others], query_group[pooled_queries]]), return_inverse=True
    )
    mean = pool(embedding, member_of, streams)
    return dataclasses.replace(query, embedding=mean[np.searchsorted(groups, query_group)])
