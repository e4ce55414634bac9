"""The same-or-different decision: two images show one person where their distance is at most a threshold t.

Over all valid pairs of a query and a gallery item (`protocol`; what it removes is no pair): P positives, the matches,
and N negatives, pairs of two identities. With d their distances,

    TPR(t) = |{positives : d <= t}| / P       FPR(t) = |{negatives : d <= t}| / N       FNR(t) = 1 - TPR(t)

All are exact to the last bit of the float32 distances, though no more than a tile of them is ever held: the negatives
are counted twice, first in coarse bins of distance, then one by one in the few bins where a figure is decided. The
positives' distances are in the ranking already.
"""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax.errors import InputError
from reid_jax.retrieval.counting import match_width
from reid_jax.retrieval.histogram import (
    FINE_BINS,
    bin_of,
    count_coarse,
    count_fine,
    distance_of,
    highest_key,
    key_of,
    lowest_key,
)
from reid_jax.retrieval.pairs import Distances, DistanceTiles, EmbeddingTiles, Tiles, check_pairs
from reid_jax.retrieval.protocol import CheckedLabels, Labels, check_labels, no_match_error
from reid_jax.retrieval.ranking import Ranking

# False positive rates at which the true positive rate is measured: one in so many.
FALSE_POSITIVE_RATES = {"1e-3": 1000, "1e-2": 100}
# Points of the ROC curve: so many evenly spaced on a logarithmic and on a linear axis of false positives.
LOGARITHMIC_POINTS = 1500
LINEAR_POINTS = 400

# Bins counted one by one: the first with a negative, two for each rate, two where the error rates cross.
_CHOSEN = 2 * len(FALSE_POSITIVE_RATES) + 3


@dataclasses.dataclass(frozen=True)
class Verification:
    """The ROC curve over thresholds t_0 < ... < t_m-1, and the figures that are quoted from it.

    t_0 is the largest distance of a positive below all negatives: FPR(t_0) = 0, and TPR(t_0) is the largest without a
    false positive. Where no positive is nearer than the nearest negative, t_0 = -inf and TPR(t_0) = 0. The last
    threshold accepts every pair: FPR = TPR = 1. Between them lie distances of negatives, and those that `metrics`
    names. In a bin (1,024 successive float32 numbers) where no metric is decided, a negative's distance is rounded up
    to the bin's end.

    Attributes:
      distance: float32 [m], the thresholds.
      false_positive_rate: float64 [m], FPR, exact at each.
      true_positive_rate: float64 [m], TPR, exact at each.
      positives: P. `negatives`: N.
      metrics: for f of 1e-3 and 1e-2
        tpr_at_fpr_f: max TPR(t) over all t with FPR(t) <= f. Let d* be the distance of the first negative too many:
          t has to be below it, so a positive at exactly d* is not accepted.
        distance_at_fpr_f: the largest observed distance below d*, a threshold that gives this rate; NaN where there is
          none;
        and with t* the observed distance that has the least |FPR(t) - FNR(t)|, the smaller of two such
        equal_error_rate: (FPR(t*) + FNR(t*)) / 2.
        distance_at_equal_error: t*.
    """

    distance: np.ndarray
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    positives: int
    negatives: int
    metrics: dict[str, float]


def verify(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    labels: Labels,
    ranking: Ranking,
    *,
    mesh: Mesh | None = None,
) -> Verification:
    """Measures the same-or-different decision over all valid pairs, exactly, in bounded memory.

    Args:
      ranking: what `reid_jax.retrieval.ranking.rank` returned for the same arguments: it has the positives.
      The others are those of `rank`. Queries without a match have negatives, too.

    Raises:
      InputError: as `rank`; the ranking is another evaluation's; or there is no positive or no negative.
    """
    query, gallery, labels = check_pairs(query, gallery, labels)
    # Tiles of the same shape as in the ranking: on a GPU another shape may run another kernel, with other bits.
    tiles = EmbeddingTiles(query, gallery, labels.gallery_identity, mesh=mesh, width=match_width(labels.matches()))
    return _verify(tiles, labels, ranking)


def verify_distances(distances: Distances, labels: Labels, ranking: Ranking) -> Verification:
    """Measures the decision by given distances; see `verify`, and `ranking.rank_distances` for `distances`.

    `distances` is called twice with each query, and must return the same each time.
    """
    labels = check_labels(labels)
    tiles = DistanceTiles(distances, labels.gallery_identity, len(labels.query_identity), width=1)
    return _verify(tiles, labels, ranking)


def _verify(tiles: Tiles, labels: CheckedLabels, ranking: Ranking) -> Verification:
    matches = labels.matches()
    if not np.array_equal(ranking.matches, matches):
        raise InputError(
            f"the ranking has {ranking.offsets[-1]} matches of {len(ranking)} queries, but the labels say "
            f"{matches.sum()} of {len(matches)}; give the ranking of the same queries and gallery"
        )
    positives = int(matches.sum())
    negatives = len(matches) * len(labels.gallery_identity) - int(labels.same_identity().sum())
    if not positives:
        raise no_match_error(len(ranking), ranking.removed)
    if not negatives:
        raise InputError(
            "query and gallery hold a single identity, so there is no pair of two persons to reject; add others to "
            "the gallery"
        )
    positive = np.sort(key_of(ranking.distance))

    coarse = count_coarse(tiles, labels.query_identity, "verification, 1 of 2")
    chosen = _choose(coarse, positive, negatives)
    fine = count_fine(tiles, labels.query_identity, chosen, "verification, 2 of 2")
    # The negatives' keys, ascending, with their counts. Those of a bin that was not chosen are taken as the bin's
    # highest key, a threshold with exact counts as well.
    whole = np.setdiff1d(np.flatnonzero(coarse), chosen)
    single = np.flatnonzero(fine)
    key = np.concatenate([highest_key(whole), lowest_key(chosen[single // FINE_BINS]) + single % FINE_BINS])
    order = np.argsort(key)
    negative = key[order]
    accepted = np.cumsum(np.concatenate([coarse[whole], fine[single]])[order])
    if accepted[-1] != negatives:
        raise InputError(
            f"{accepted[-1]} pairs of two identities were found where there are {negatives}; give distances that are "
            "the same each time they are computed"
        )
    return _measure(positive, negative, accepted)


def _measure(positive: np.ndarray, negative: np.ndarray, accepted: np.ndarray) -> Verification:
    """From sorted keys: positives [p]; negatives [n], unique, and how many negatives are at most as far."""
    positives, negatives = len(positive), int(accepted[-1])

    def false_positives(key: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], accepted])[np.searchsorted(negative, key, "right")]

    def true_positives(key: np.ndarray) -> np.ndarray:
        return np.searchsorted(positive, key, "right")

    def last_before(limit: int) -> list[int]:
        """The largest observed key below the limit, if there is one."""
        last = [keys[np.searchsorted(keys, limit) - 1] for keys in (positive, negative) if keys[0] < limit]
        return [int(max(last))] if last else []

    metrics, used = {}, []
    for name, denominator in FALSE_POSITIVE_RATES.items():
        threshold = last_before(_first_beyond(negative, accepted, negatives // denominator))
        metrics[f"tpr_at_fpr_{name}"] = float(true_positives(threshold[0])) / positives if threshold else 0.0
        metrics[f"distance_at_fpr_{name}"] = float(distance_of(threshold)[0]) if threshold else float("nan")
        used += threshold

    observed = np.union1d(positive, negative)
    # Rates times both numbers of pairs: integers below 2^63, compared without rounding.
    difference = false_positives(observed) * positives - (positives - true_positives(observed)) * negatives
    crossing = int(np.argmax(difference >= 0))
    if crossing and -difference[crossing - 1] <= difference[crossing]:
        crossing -= 1
    equal = int(observed[crossing])
    false_negatives = positives - int(true_positives(equal))
    metrics["equal_error_rate"] = float(false_positives(equal) / negatives + false_negatives / positives) / 2
    metrics["distance_at_equal_error"] = float(distance_of([equal])[0])

    wanted = np.concatenate([np.geomspace(1, negatives, LOGARITHMIC_POINTS), np.linspace(1, negatives, LINEAR_POINTS)])
    points = negative[np.searchsorted(accepted, np.minimum(np.ceil(wanted), negatives))]
    start = last_before(negative[0])
    key = np.unique(np.concatenate([start, points, [*used, equal], [max(positive[-1], negative[-1])]])).astype(np.int64)
    key = key[key >= (start[0] if start else negative[0])]
    distance = distance_of(key)
    false_positive_rate, true_positive_rate = false_positives(key) / negatives, true_positives(key) / positives
    if not start:
        distance = np.concatenate([[np.float32(-np.inf)], distance])
        false_positive_rate = np.concatenate([[0.0], false_positive_rate])
        true_positive_rate = np.concatenate([[0.0], true_positive_rate])
    return Verification(distance, false_positive_rate, true_positive_rate, positives, negatives, metrics)


def _first_beyond(value: np.ndarray, accepted: np.ndarray, allowed: int) -> int:
    """The value (a negative's key or bin) at which more than `allowed` negatives are accepted for the first time."""
    return int(value[np.searchsorted(accepted, allowed, "right")])


def _choose(coarse: np.ndarray, positive: np.ndarray, negatives: int) -> np.ndarray:
    """The bins whose negatives must be known one by one, for `_measure` to be exact; int32 [`_CHOSEN`], -1 for none.

    They are the bins of the first negative, of the first too many for each rate, and where the error rates cross;
    and the last bin with a negative before each, for the largest distance below.
    """
    filled = np.flatnonzero(coarse)
    accepted = np.cumsum(coarse[filled])
    decisive = [_first_beyond(filled, accepted, negatives // d) for d in FALSE_POSITIVE_RATES.values()]

    # At the highest key of each bin with a pair, as in `_measure`.
    bins = np.union1d(filled, bin_of(positive))
    edge = highest_key(bins)
    false_positives = np.concatenate([[0], accepted])[np.searchsorted(filled, bins, "right")]
    false_negatives = len(positive) - np.searchsorted(positive, edge, "right")
    crossed = false_positives * len(positive) >= false_negatives * negatives
    decisive.append(int(bins[np.argmax(crossed)]))

    before = [filled[np.searchsorted(filled, b) - 1] for b in decisive if filled[0] < b]
    chosen = sorted({int(b) for b in [filled[0], *decisive, *before]})
    return np.array(chosen + [-1] * (_CHOSEN - len(chosen)), np.int32)
