"""Ranking, verification and re-ranking of made embeddings, results on the host included."""

import dataclasses
import importlib

import numpy as np
from jax.sharding import Mesh

from reid_jax.bench.contest import OURS, Contest, Contestant, hold
from reid_jax.bench.measure import Measurement, measure
from reid_jax.retrieval import metrics, ranking
from reid_jax.retrieval.labels import Labels
from reid_jax.retrieval.rerank import rerank
from reid_jax.retrieval.verification import verify


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


def bench_rank(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Measurement:
    """Measures ranking with CMC, both APs and mINP, distances included."""
    return measure(lambda: _rank(made, mesh), rounds)


def contest_rank(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Contest:
    """Measures the same in turn with torchreid's: distances, CMC and one AP. See `against.check` for what it takes."""
    torchreid = importlib.import_module("reid_jax.bench.peers.torchreid_peer")
    theirs = torchreid.ranker(made, _rank(made, mesh)["mAP"])
    return hold([Contestant(OURS, lambda: _rank(made, mesh), len(made.query)), theirs], rounds, "queries")


def _rank(made: MadeEmbeddings, mesh: Mesh) -> dict[str, float]:
    return metrics.retrieval_metrics(ranking.rank(made.query, made.gallery, made.labels, mesh=mesh))


def contest_rerank(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Contest:
    """Measures all queries' re-ranked distances in turn with torchreid's, made from matrices of all items by all."""
    torchreid = importlib.import_module("reid_jax.bench.peers.torchreid_peer")

    def work() -> np.ndarray:
        return rerank(made.query, made.gallery, mesh=mesh)(np.arange(len(made.query)))

    theirs = torchreid.reranker(made, work())
    return hold([Contestant(OURS, work, len(made.query)), theirs], rounds, "queries")


def bench_verify(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Measurement:
    """Measures the same-or-different decision over all pairs, the ranking it needs left out."""
    ranked = ranking.rank(made.query, made.gallery, made.labels, mesh=mesh)
    return measure(lambda: verify(made.query, made.gallery, made.labels, ranked, mesh=mesh), rounds)


def bench_rerank(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Measurement:
    """Measures k-reciprocal re-ranking, the ranking by its distances and the metrics."""

    def work():
        distances = rerank(made.query, made.gallery, mesh=mesh)
        return metrics.retrieval_metrics(ranking.rank_distances(distances, made.labels))

    return measure(work, rounds)
