"""Retrieval metrics from a ranking: CMC, both average precisions and mINP.

With r_1 < ... < r_m the ranks of the m matches of a query, and Q the queries with a match (others are left out):

    rank-k = |{q in Q : r_1 <= k}| / |Q|
    mAP    = mean over Q of 1/m sum_j j / r_j            (the step rule; see `average_precision` for the other)
    mINP   = mean over Q of m / r_m

`reid_jax.retrieval.protocol` says what is ranked and what a match is.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from reid_jax.errors import InputError
from reid_jax.retrieval.protocol import no_match_error
from reid_jax.retrieval.ranking import Ranking
from reid_jax.text_table import format_table

CMC_RANKS = (1, 5, 10, 20)


def match_ranks(ranking: Ranking) -> np.ndarray:
    """The rank of every match among its query's valid gallery items: int64 [matches], from 1, flat."""
    matches_before = np.arange(ranking.offsets[-1]) - np.repeat(ranking.offsets[:-1], ranking.matches)
    return 1 + matches_before + ranking.negatives_before


def cmc(ranking: Ranking, max_rank: int) -> np.ndarray:
    """Cumulative matching characteristic: the share of queries with a match at rank k or before.

    Gray, Brennan and Tao, "Evaluating Appearance Models for Recognition, Reacquisition, and Tracking",
    PETS 2007.

    Returns:
      float64 [max_rank], in [0, 1]; entry k - 1 is rank-k.

    Raises:
      InputError: no query has a match, or max_rank is below 1.
    """
    if max_rank < 1:
        raise InputError(f"cmc: max_rank is {max_rank}; give at least 1")
    counted = _counted(ranking)
    first = match_ranks(ranking)[ranking.offsets[:-1][counted]]
    hits = np.bincount(first[first <= max_rank], minlength=max_rank + 1)[1:]
    return np.cumsum(hits) / np.count_nonzero(counted)


def average_precision(ranking: Ranking, rule: Literal["step", "trapezoid"] = "step") -> np.ndarray:
    """Average precision of each query, by one of the two rules in use.

    With r_j the rank of the j-th of m matches, its precision is p_j = j / r_j.
    step: 1/m sum_j p_j, which is what most papers and libraries print.
    trapezoid: 1/m sum_j (p_j + p'_j) / 2 with p'_j = (j - 1) / (r_j - 1) the precision one valid item before,
    and 1 before the first item: `compute_AP.m` of Market-1501's official script; usually 0.005 to 0.01 lower.

    Returns:
      float64 [queries], in [0, 1]; NaN for a query without a match.

    Raises:
      InputError: the rule is neither.
    """
    if rule not in ("step", "trapezoid"):
        raise InputError(f"average precision rule {rule!r} is unknown; give 'step' or 'trapezoid'")
    position = match_ranks(ranking)
    hit = position - ranking.negatives_before
    precision = hit / position
    if rule == "trapezoid":
        before = np.where(position > 1, (hit - 1) / np.maximum(position - 1, 1), 1.0)
        precision = (precision + before) / 2
    counted = ranking.matches > 0
    result = np.full(len(ranking), np.nan)
    if counted.any():
        result[counted] = np.add.reduceat(precision, ranking.offsets[:-1][counted]) / ranking.matches[counted]
    return result


def inverse_negative_penalty(ranking: Ranking) -> np.ndarray:
    """Matches over the rank of the hardest match, for each query; the mean is mINP.

    Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021, section 4.1.

    Returns:
      float64 [queries], in [0, 1]; NaN for a query without a match.
    """
    counted = ranking.matches > 0
    result = np.full(len(ranking), np.nan)
    result[counted] = ranking.matches[counted] / match_ranks(ranking)[ranking.offsets[1:][counted] - 1]
    return result


def retrieval_metrics(ranking: Ranking) -> dict[str, float]:
    """The metrics of one evaluation, as fractions in [0, 1], beside the number of queries.

    Returns:
      rank1, rank5, rank10, rank20 (CMC), mAP (step rule, the headline), mAP_trapezoid (Market-1501's own
      rule), mINP; queries (all), queries_without_match (not counted in any metric).

    Raises:
      InputError: no query has a match.
    """
    counted = _counted(ranking)
    curve = cmc(ranking, max(CMC_RANKS))
    return {
        **{f"rank{k}": float(curve[k - 1]) for k in CMC_RANKS},
        "mAP": float(average_precision(ranking)[counted].mean()),
        "mAP_trapezoid": float(average_precision(ranking, "trapezoid")[counted].mean()),
        "mINP": float(inverse_negative_penalty(ranking)[counted].mean()),
        "queries": float(len(ranking)),
        "queries_without_match": float(len(ranking) - np.count_nonzero(counted)),
    }


def format_metrics(rows: dict[str, dict[str, float]]) -> str:
    """A plain-text table: a line for each name, a column for each metric.

    Shares and rates are in percent, distances (`distance_...`) have three decimals, counts (`queries...`) are as they
    are. A metric that a row lacks, or that is NaN, is shown as '-'.

    Example:
      print(format_metrics({"market1501": retrieval_metrics(ranking)}))
    """
    return _table(rows, lambda metric: metric.replace("_", " "), _cell)


def format_matrix(rows: dict[str, dict[str, float]], metric: str) -> str:
    """A plain-text table of one metric: a line and a column for each name, such as of weights and of data sets.

    Values are shown as by `format_metrics`.
    """
    return _table(rows, str, lambda _, value: _cell(metric, value))


def _table(
    rows: dict[str, dict[str, float]], heading: Callable[[str], str], cell: Callable[[str, float | None], str]
) -> str:
    columns = list(dict.fromkeys(key for values in rows.values() for key in values))
    table = [["", *map(heading, columns)]]
    table += [[name, *(cell(column, values.get(column)) for column in columns)] for name, values in rows.items()]
    return format_table(table)


def _cell(metric: str, value: float | None) -> str:
    if value is None or np.isnan(value):
        return "-"
    if metric.startswith("queries"):
        return f"{value:.0f}"
    return f"{value:.3f}" if metric.startswith("distance_") else f"{100 * value:.2f}"


def _counted(ranking: Ranking) -> np.ndarray:
    """bool [queries], those with a match."""
    counted = ranking.matches > 0
    if not counted.any():
        raise no_match_error(len(ranking), ranking.removed)
    return counted
