"""Ranking, verification and re-ranking of made embeddings, results on the host included."""

import importlib

import numpy as np
from jax.sharding import Mesh

from reid_jax.bench.contest import OURS, Contest, Contestant, run_contest
from reid_jax.bench.made import MadeEmbeddings
from reid_jax.bench.measure import Measurement, measure
from reid_jax.retrieval import metrics, ranking
from reid_jax.retrieval.rerank import rerank
from reid_jax.retrieval.verification import verify


def bench_rank(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Measurement:
    """Measures ranking with CMC, both APs and mINP, distances included."""
    return measure(lambda: _rank(made, mesh), rounds)


def contest_rank(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Contest:
    """Measures the same in turn with torchreid's: distances, CMC and one AP. See `against.check` for what it takes."""
    torchreid = importlib.import_module("reid_jax.bench.peers.torchreid_peer")
    theirs = torchreid.ranker(made, _rank(made, mesh)["mAP"])
    return run_contest([Contestant(OURS, lambda: _rank(made, mesh), len(made.query)), theirs], rounds, "queries")


def _rank(made: MadeEmbeddings, mesh: Mesh) -> dict[str, float]:
    return metrics.retrieval_metrics(ranking.rank(made.query, made.gallery, made.labels, mesh=mesh))


def contest_rerank(made: MadeEmbeddings, rounds: int, mesh: Mesh) -> Contest:
    """Measures all queries' re-ranked distances in turn with torchreid's, made from matrices of all items by all."""
    torchreid = importlib.import_module("reid_jax.bench.peers.torchreid_peer")

    def work() -> np.ndarray:
        return rerank(made.query, made.gallery, mesh=mesh)(np.arange(len(made.query)))

    theirs = torchreid.reranker(made, work())
    return run_contest([Contestant(OURS, work, len(made.query)), theirs], rounds, "queries")


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
