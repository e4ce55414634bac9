"""Evaluation of a network on a query and a gallery split: embed, pool, rank, measure."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jax.sharding import Mesh

from reid_jax.data.split import Images
from reid_jax.data.tracklets import items_of
from reid_jax.embed import embed_split
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
      single_gallery_shot: CUHK03's classic protocol, its draws repeated `shots` times from `seed`.
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
    shots: int = 10
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
            base += f", single gallery shot, mean of {self.shots} draws (seed {self.seed})"
        return f"{base}; after-processing: {', '.join(after) or 'none'}"


@dataclasses.dataclass(frozen=True)
class Items:
    """One side of an evaluation: what is ranked, an image each or a tracklet pooled over its frames.

    embedding: float32 [n, d]. identity, camera: int32 [n]. name: str [n]. row: int64 [n], the image of the split that
    shows the item, of a tracklet its middle frame.
    """

    embedding: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    name: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Both sides, the ranking and its metrics (see `retrieval_metrics`, or `single_shot_metrics` where asked for).

    `distances` are what was ranked by, where that is not the Euclidean distance of the embeddings; `shots` are the
    ranks in the draws of single gallery shot, where that was asked for: the ranking is of the whole gallery.
    """

    query: Items
    gallery: Items
    ranking: Ranking
    metrics: dict[str, float]
    protocol: Protocol
    mesh: Mesh
    distances: Distances | None = None
    shots: np.ndarray | None = None

    def cmc(self, max_rank: int) -> np.ndarray:
        """The CMC curve by the protocol, of which the metrics are points: float64 [max_rank], from rank 1."""
        if self.shots is not None:
            return single_shot_cmc(self.shots, max_rank)
        return metrics_module.cmc(self.ranking, max_rank)

    @functools.cached_property
    def verification(self) -> Verification:
        """The same-or-different decision at every threshold, by the distance that was ranked by."""
        labels = _labels(self.query, self.gallery)
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
            labels = _labels(self.query, self.gallery)
            return nearest_module.nearest_distances(self.distances, labels, k, rows=rows)
        some = _take(self.query, rows)
        labels = _labels(some, self.gallery)
        return nearest_module.nearest(some.embedding, self.gallery.embedding, labels, k, mesh=self.mesh)


def evaluate(
    network,
    variables: dict[str, Any],
    query: Images,
    gallery: Images,
    mesh: Mesh,
    *,
    protocol: Protocol = Protocol(),  # noqa: B008 - frozen
    multi_query: Images | None = None,
    progress: bool = False,
) -> Evaluation:
    """Embeds, ranks and measures.

    `multi_query` holds the images to pool a query over, itself among them (Market-1501's gt_bbox, as its authors do);
    without it multi-query takes the query and the gallery images of its identity and camera, which the protocol removes
    from its ranking anyway.

    Raises InputError where no query has a match, or an image cannot be decoded.
    """

    def items(images: Images, name: str) -> Items:
        return embed_items(network, variables, images, mesh, flip=protocol.flip, progress=name if progress else "")

    sides = items(query, "embedding query"), items(gallery, "embedding gallery")
    further = None
    if protocol.multi_query and multi_query is not None:
        further = items(multi_query, "embedding multi-query")
    return score(*sides, network.streams, mesh, protocol=protocol, multi_query=further)


def embed_items(
    network, variables: dict[str, Any], images: Images, mesh: Mesh, *, flip: bool = False, progress: str = ""
) -> Items:
    """Embeds a split and pools the frames of each tracklet (the mean of their descriptors, renormalised)."""
    embedding = embed_split(network, variables, images, mesh, flip, progress)
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
    pooled = pool(embedding, item, network.streams)
    return Items(pooled, images.identity[row], images.camera[row], images.name[row], row)


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
    labels = _labels(query, gallery)
    if protocol.query_expansion:
        expanded = expand_queries(
            query.embedding, gallery.embedding, labels, protocol.query_expansion, streams=streams, mesh=mesh
        )
        query = dataclasses.replace(query, embedding=expanded)
    distances = shots = None
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
        shots = single_shot_ranks(
            query.embedding, gallery.embedding, labels, repeats=protocol.shots, seed=protocol.seed, mesh=mesh
        )
    metrics = metrics_module.retrieval_metrics(ranking) if shots is None else single_shot_metrics(shots)
    return Evaluation(query, gallery, ranking, metrics, protocol, mesh, distances, shots)


def _pool_queries(query: Items, further: Items, streams: tuple[int, ...], complete: bool) -> Items:
    """Each query becomes the mean of all items of its identity and camera: of `further`, and of the queries themselves.

    `further` that is complete shows the queries, too (gt_bbox does): those it has are not counted again.
    """
    if (query.camera == UNKNOWN_CAMERA).any():
        raise InputError(
            "multi-query pools the images of a query's own camera, but cameras are unknown; use single query, or "
            "data whose names tell the camera"
        )
    sights = np.stack([np.r_[query.identity, further.identity], np.r_[query.camera, further.camera]])
    sight = np.unique(sights, axis=1, return_inverse=True)[1].reshape(-1)
    of_query, of_further = sight[: len(query)], sight[len(query) :]
    asked = np.isin(of_further, of_query)  # a gallery may be large: only what is pooled is copied
    counted = ~np.isin(of_query, of_further) if complete else np.ones(len(query), bool)
    rows = np.concatenate([further.embedding[asked], query.embedding[counted]])
    numbers, group = np.unique(np.concatenate([of_further[asked], of_query[counted]]), return_inverse=True)
    pooled = pool(rows, group, streams)
    return dataclasses.replace(query, embedding=pooled[np.searchsorted(numbers, of_query)])


def _labels(query: Items, gallery: Items) -> Labels:
    return Labels(query.identity, query.camera, gallery.identity, gallery.camera)


def _take(items: Items, rows: np.ndarray) -> Items:
    return Items(*(getattr(items, field.name)[rows] for field in dataclasses.fields(items)))
