"""CUHK03's classic protocol: the gallery holds one image of each identity, drawn at random, in several draws.

With g_i the image drawn of identity i, and p the identity of query q:

    rank(q) = 1 + |{i != p : d(q, g_i) <= d(q, g_p)}|

so that an identity at the same distance as the right one ranks before it. The images that g_p is drawn from depend on
the query's camera, by the same-camera rule of `protocol`; those of all other identities do not.

Li, Zhao, Xiao and Wang, "DeepReID: Deep Filter Pairing Neural Network for Person Re-identification", CVPR 2014.
"""

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax.errors import InputError
from reid_jax.retrieval.counting import MATCHES_AT_ONCE, Targets, count_negatives
from reid_jax.retrieval.metrics import CMC_RANKS
from reid_jax.retrieval.pairs import PADDING, Embeddings, EmbeddingTiles, check_pairs
from reid_jax.retrieval.protocol import CheckedLabels, Labels, no_match_error


def single_shot_metrics(ranks: np.ndarray) -> dict[str, float]:
    """The metrics over what `single_shot_ranks` returned, as fractions, the means of all draws.

    Returns:
      rank1, rank5, rank10, rank20 (CMC) and mAP, which with one match a query is the mean of 1 / rank; each with its
      standard deviation over the draws as `<name>_std`; queries (all), queries_without_match (not counted in any
      metric).

    Raises:
      InputError: no query has a match.
    """
    counted = ranks[:, ranks[0] > 0]
    if not counted.size:
        raise no_match_error(ranks.shape[1])
    draws = {f"rank{k}": (counted <= k).mean(axis=1) for k in CMC_RANKS}
    draws["mAP"] = (1 / counted).mean(axis=1)
    metrics = {name: float(values.mean()) for name, values in draws.items()}
    metrics |= {f"{name}_std": float(values.std()) for name, values in draws.items()}
    metrics["queries"] = float(ranks.shape[1])
    metrics["queries_without_match"] = float(ranks.shape[1] - counted.shape[1])
    return metrics


def single_shot_cmc(ranks: np.ndarray, max_rank: int) -> np.ndarray:
    """The curve over what `single_shot_ranks` returned, the mean of all draws: float64 [max_rank], from rank 1.

    Raises InputError where no query has a match or max_rank is below 1.
    """
    if max_rank < 1:
        raise InputError(f"single_shot_cmc: max_rank is {max_rank}; give at least 1")
    counted = ranks[ranks > 0]
    if not len(counted):
        raise no_match_error(ranks.shape[1])
    hits = np.bincount(counted[counted <= max_rank], minlength=max_rank + 1)[1:]
    return np.cumsum(hits) / len(counted)


def single_shot_ranks(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    labels: Labels,
    *,
    repeats: int = 10,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """The rank of each query's identity among all identities, where of each one valid gallery image is drawn.

    A draw numbers all gallery images by a random permutation; of each identity the valid image of the lowest number is
    taken. So one draw is one gallery for all queries, but for a query's own identity, where its camera matters. A draw
    depends on the seed, its number, and the order of images within the gallery's identities, sorted; not on the
    queries.

    Args:
      query, gallery, labels and mesh: those of `reid_jax.retrieval.ranking.rank`.
      repeats: draws, at least 1. `seed`: not negative.

    Returns:
      int32 [repeats, nq], from 1; 0 for a query without a match.

    Raises:
      InputError: as `rank`; no query has a match; or repeats or seed are out of range.
    """
    query, gallery, labels = check_pairs(query, gallery, labels)
    if repeats < 1:
        raise InputError(f"single gallery shot: repeats is {repeats}; give at least 1 draw")
    if seed < 0:
        raise InputError(f"single gallery shot: seed is {seed}; give 0 or more")
    matches = labels.matches()
    if not matches.any():
        raise no_match_error(len(matches), labels.removed())
    draw = _Draw(labels, np.flatnonzero(matches))
    ranks = [_ranks(query, gallery, labels, draw, np.random.default_rng([seed, r]), mesh) for r in range(repeats)]
    return np.stack(ranks)


class _Draw:
    """The gallery images to draw from: those of each identity, and the valid ones of the queries' identities.

    Queries of one identity and camera share their identity's draw, as do those of one identity whose cameras are
    unknown: a group.

    Attributes:
      queries: int64, those with a match.
      group: int64 [nq], the group of each query with a match; 0, which means nothing, without one.
    """

    def __init__(self, labels: CheckedLabels, queries: np.ndarray):
        self.queries = queries
        # Sorted by identity: the order of the identities in the gallery does not matter.
        self._by_identity = np.argsort(labels.gallery_identity, kind="stable")
        identity = labels.gallery_identity[self._by_identity]
        self._identity_start = np.flatnonzero(np.diff(identity, prepend=-1))

        pair = np.stack([labels.query_identity[queries], labels.query_identity_camera[queries]])
        (group_identity, group_identity_camera), group = np.unique(pair, axis=1, return_inverse=True)
        self.group = np.zeros(len(labels.query_identity), np.int64)
        self.group[queries] = group.reshape(-1)
        first = np.searchsorted(identity, group_identity, "left")
        size = np.searchsorted(identity, group_identity, "right") - first
        # All items of each group's identity, one group after another, as positions in `_by_identity`.
        position = np.repeat(first - np.cumsum(size) + size, size) + np.arange(size.sum())
        group_of = np.repeat(np.arange(len(size)), size)
        valid = labels.gallery_identity_camera[self._by_identity[position]] != group_identity_camera[group_of]
        self._valid_position = position[valid]
        self._group_start = np.flatnonzero(np.diff(group_of[valid], prepend=-1))

    def __call__(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws gallery items: int64 [identities], one each, and int64 [groups], one of each group's identity."""
        number = random.permutation(len(self._by_identity))
        item = np.empty_like(self._by_identity)
        item[number] = self._by_identity
        of_identity = np.minimum.reduceat(number, self._identity_start)
        of_group = np.minimum.reduceat(number[self._valid_position], self._group_start)
        return item[of_identity], item[of_group]


def _ranks(
    query: Embeddings,
    gallery: Embeddings,
    labels: CheckedLabels,
    draw: _Draw,
    random: np.random.Generator,
    mesh: Mesh | None,
) -> np.ndarray:
    """The ranks in one draw, int32 [nq]."""
    drawn, drawn_for_group = draw(random)
    # Behind the gallery come the columns of the groups' draws: only thresholds, which their label keeps from being
    # counted as negatives.
    items = np.concatenate([drawn, drawn_for_group])
    label = np.concatenate([labels.gallery_identity[drawn], np.full(len(drawn_for_group), PADDING, np.int32)])
    tiles = EmbeddingTiles(query, gallery, label, mesh=mesh, width=MATCHES_AT_ONCE, order=items)
    has_match = np.zeros(len(query), np.int64)
    has_match[draw.queries] = 1
    offsets = np.concatenate([[0], np.cumsum(has_match)])

    def columns(block: np.ndarray) -> np.ndarray:
        column = np.full((len(block), MATCHES_AT_ONCE), -1)
        column[:, 0] = len(drawn) + draw.group[block]
        return column

    targets = Targets(draw.queries, offsets, columns, MATCHES_AT_ONCE)
    _, negatives = count_negatives(tiles, labels.query_identity, targets, "single gallery shot")
    ranks = np.zeros(len(query), np.int32)
    ranks[draw.queries] = 1 + negatives
    return ranks
