"""The same-or-different decision: two images show one person where their distance is at most a threshold.

Over all valid query-gallery pairs of an evaluation: positives are the matches, negatives the pairs of two identities;
what the protocol of `reid_jax.retrieval.ranking.rank` removes is in neither. Everything is exact to the last bit of
the float32 distances, though no more than a tile of them is ever held: the negatives are counted twice, first in
coarse bins of their bit patterns, then one by one in the few bins where a figure is decided.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reid_jax.errors import InputError
from reid_jax.parallel import place
from reid_jax.progress import with_progress
from reid_jax.retrieval.labels import CheckedLabels, Labels, check_labels
from reid_jax.retrieval.metrics import no_match_error
from reid_jax.retrieval.pairs import (
    PADDING,
    Distances,
    DistanceTiles,
    EmbeddingTiles,
    Tiles,
    blocks,
    check_pairs,
    spread,
)
from reid_jax.retrieval.ranking import Ranking, match_width

# False positive rates whose true positive rates are told: one in so many.
FALSE_POSITIVE_RATES = {"1e-3": 1000, "1e-2": 100}
# Points of the ROC curve: so many evenly spaced on a logarithmic and on a linear axis of false positives.
LOGARITHMIC_POINTS = 1500
LINEAR_POINTS = 400

# Distances are counted as 32-bit integers of the same order; a coarse bin holds those that differ in the lowest bits.
LOW_BITS = 10
_COARSE_BINS = 1 << (32 - LOW_BITS)
_FINE_BINS = 1 << LOW_BITS
# Bins counted one by one: the first with a negative, two for each rate, two where the error rates cross.
_CHOSEN = 2 * len(FALSE_POSITIVE_RATES) + 3
# Counts on the devices are int32: so many pairs at most before they are added up on the host.
_PAIRS_AT_ONCE = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Verification:
    """What every threshold would accept, and the figures that users ask for.

    Attributes:
      distance: float32 [m], thresholds of the ROC curve, increasing: what is at most as far is accepted. The first is
        the largest at which no negative is (-inf where not even a positive is), at the last everything is.
      false_positive_rate: float64 [m], from 0 to 1: the share of negatives accepted, exact at each point.
      true_positive_rate: float64 [m], to 1: the share of positives accepted, exact at each point.
      positives: pairs of one identity. `negatives`: pairs of two.
      metrics: for f of 1e-3 and 1e-2
        tpr_at_fpr_f: the largest true positive rate of a threshold whose false positive rate is at most f. A positive
          at the same distance as the first negative too many is not accepted.
        distance_at_fpr_f: the largest distance observed, of a positive or a negative, that such a threshold accepts,
          itself a threshold that gives the rate above; NaN where none is;
        and, of the observed distances taken as thresholds, at the one where false positive rate and false negative
        rate differ least (the smaller of two such):
        equal_error_rate: the mean of the two rates. `distance_at_equal_error`: that distance.
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
      The others are those of `rank`. Queries without a match give negatives, too.

    Raises:
      InputError: as `rank`; the ranking is another evaluation's; or there is no positive or no negative.
    """
    query, gallery, labels = check_pairs(query, gallery, labels)
    # Tiles of the same shape as in the ranking: on a GPU another shape may run another kernel, with other bits.
    tiles = EmbeddingTiles(query, gallery, labels.gallery_identity, mesh=mesh, width=match_width(labels.matches()))
    return _verify(tiles, labels, ranking)


def verify_distances(distances: Distances, labels: Labels, ranking: Ranking) -> Verification:
    """Measures the decision by given distances; see `verify`, and `ranking.rank_distances` for `distances`.

    The distances of each query are asked for twice, and must be the same each time.
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
    positive = np.sort(_key(ranking.distance))

    coarse = _count(tiles, labels.query_identity, _COARSE_BINS, "verification, 1 of 2")
    chosen = _choose(coarse, positive, negatives)
    fine = _count(tiles, labels.query_identity, _CHOSEN * _FINE_BINS, "verification, 2 of 2", chosen)
    # The negatives' distances, ascending, with their numbers. Those of a bin that was not chosen stand at its upper
    # edge: a threshold with exact counts, too.
    whole = np.setdiff1d(np.flatnonzero(coarse), chosen)
    apart = np.flatnonzero(fine)
    key = np.concatenate(
        [
            _lowest(whole) + (_FINE_BINS - 1),
            _lowest(chosen[apart // _FINE_BINS]) + apart % _FINE_BINS,
        ]
    )
    order = np.argsort(key)
    negative = key[order]
    accepted = np.cumsum(np.concatenate([coarse[whole], fine[apart]])[order])
    if accepted[-1] != negatives:
        raise InputError(
            f"{accepted[-1]} pairs of two identities were found where there are {negatives}; give distances that are "
            "the same each time they are asked for"
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
        found = [keys[np.searchsorted(keys, limit) - 1] for keys in (positive, negative) if keys[0] < limit]
        return [int(max(found))] if found else []

    metrics, used = {}, []
    for name, denominator in FALSE_POSITIVE_RATES.items():
        threshold = last_before(_first_beyond(negative, accepted, negatives // denominator))
        metrics[f"tpr_at_fpr_{name}"] = float(true_positives(threshold[0])) / positives if threshold else 0.0
        metrics[f"distance_at_fpr_{name}"] = float(_distance(threshold)[0]) if threshold else float("nan")
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
    metrics["distance_at_equal_error"] = float(_distance([equal])[0])

    wanted = np.concatenate([np.geomspace(1, negatives, LOGARITHMIC_POINTS), np.linspace(1, negatives, LINEAR_POINTS)])
    points = negative[np.searchsorted(accepted, np.minimum(np.ceil(wanted), negatives))]
    start = last_before(negative[0])
    key = np.unique(np.concatenate([start, points, [*used, equal], [max(positive[-1], negative[-1])]])).astype(np.int64)
    key = key[key >= (start[0] if start else negative[0])]
    distance = _distance(key)
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

    # At the upper edge of each bin with a pair, as in `_measure`.
    bins = np.union1d(filled, _bin(positive))
    edge = _lowest(bins) + (_FINE_BINS - 1)
    false_positives = np.concatenate([[0], accepted])[np.searchsorted(filled, bins, "right")]
    false_negatives = len(positive) - np.searchsorted(positive, edge, "right")
    crossed = false_positives * len(positive) >= false_negatives * negatives
    decisive.append(int(bins[np.argmax(crossed)]))

    before = [filled[np.searchsorted(filled, b) - 1] for b in decisive if filled[0] < b]
    chosen = sorted({int(b) for b in [filled[0], *decisive, *before]})
    return np.array(chosen + [-1] * (_CHOSEN - len(chosen)), np.int32)


def _count(
    tiles: Tiles, query_identity: np.ndarray, bins: int, progress: str, chosen: np.ndarray | None = None
) -> np.ndarray:
    """Counts all negatives, int64 [bins]: in coarse bins, or one by one those in the `chosen` ones."""
    total = np.zeros(bins, np.int64)
    fixed = () if chosen is None else (place(tiles.mesh, chosen, PartitionSpec()),)
    add, collect = _add_function(tiles.mesh, chosen is not None), _sum_function(tiles.mesh)
    at_once = max(_PAIRS_AT_ONCE // (tiles.block * tiles.columns), 1)
    work = [
        (chunk, part) for chunk in range(tiles.chunks) for part in blocks(np.arange(len(query_identity)), tiles.block)
    ]
    counts, last = None, None
    for number, (chunk, part) in enumerate(with_progress(work, progress, "tiles"), 1):
        if counts is None:
            counts = place(tiles.mesh, np.zeros((tiles.mesh.size, bins), np.int32), PartitionSpec("data"))
        score, gallery_identity = tiles.tile(chunk, part)
        distance = tiles.distance(score, part)
        counts = add(counts, distance, tiles.place(query_identity[part], PADDING), gallery_identity, *fixed)
        if last is not None:
            last.block_until_ready()  # running further ahead only takes memory
        last = distance
        if number % at_once == 0 or number == len(work):
            total += np.asarray(collect(counts))
            counts = None
    return total


def _ordered(distance: jax.Array) -> jax.Array:
    """int32 keys in the order of float32 distances; both zeros are one."""
    bits = lax.bitcast_convert_type(jnp.where(distance == 0, 0.0, distance), jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _key(distance: np.ndarray) -> np.ndarray:
    """As `_ordered`, on the host: int64."""
    bits = np.where(distance == 0, np.float32(0), distance).astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _distance(key: np.ndarray | list[int]) -> np.ndarray:
    """float32 distances of keys."""
    key = np.asarray(key, np.int64)
    return np.where(key < 0, key ^ 0x7FFFFFFF, key).astype(np.int32).view(np.float32)


def _bin(key: np.ndarray) -> np.ndarray:
    """The coarse bin of each key, from 0."""
    return (key >> LOW_BITS) + _COARSE_BINS // 2


def _lowest(bins: np.ndarray) -> np.ndarray:
    """The lowest key of each coarse bin."""
    return (bins - _COARSE_BINS // 2) << LOW_BITS


def _add_coarse(counts, distance, query_identity, gallery_identity):
    """Adds one device's negatives to counts [1, bins]: distance [b, n], query_identity [b], gallery_identity [n]."""
    negative = _is_negative(query_identity, gallery_identity)
    place = jnp.where(negative, _bin(_ordered(distance)), counts.shape[1])
    return counts.at[0, place.reshape(-1)].add(1, mode="drop")


def _add_fine(counts, distance, query_identity, gallery_identity, chosen):
    """As `_add_coarse`, those in bin chosen[i] to counts[0, i * _FINE_BINS + lowest bits]."""
    key = _ordered(distance)
    own = _bin(key)
    place = jnp.full(key.shape, counts.shape[1], jnp.int32)
    for i in range(_CHOSEN):
        place = jnp.where(own == chosen[i], i * _FINE_BINS + (key & (_FINE_BINS - 1)), place)
    place = jnp.where(_is_negative(query_identity, gallery_identity), place, counts.shape[1])
    return counts.at[0, place.reshape(-1)].add(1, mode="drop")


def _is_negative(query_identity: jax.Array, gallery_identity: jax.Array) -> jax.Array:
    """bool [b, n], the pairs of two identities; none with padding."""
    pair = (query_identity != PADDING)[:, None] & (gallery_identity != PADDING)
    return pair & (query_identity[:, None] != gallery_identity)


@functools.cache
def _add_function(mesh: Mesh, fine: bool):
    data, everywhere = PartitionSpec("data"), PartitionSpec()
    if fine:
        return spread(_add_fine, mesh, (data, data, data, everywhere, everywhere), donate_argnums=0)
    return spread(_add_coarse, mesh, (data, data, data, everywhere), donate_argnums=0)


@functools.cache
def _sum_function(mesh: Mesh):
    """The sum over devices, on each of them."""
    return jax.jit(lambda counts: counts.sum(axis=0), out_shardings=NamedSharding(mesh, PartitionSpec()))
