"""Whether samples that disagree about a visit foretell that it is taken for somebody else, on other people.

A visit's spread (`reentry.Described`) is a reason to call it new, beside the distance. How good a reason is measured as
for retrieval, by risk against coverage; limits are the spreads that a stated share of visits exceeds.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from reid_jax.errors import InputError
from reid_jax.retrieval.risk import RiskCoverage, risk_coverage
from reid_jax.tracking.reentry import Described, merges
from reid_jax.tracking.visits import Visit


@dataclasses.dataclass(frozen=True)
class Limit:
    """A spread that at most the share `share` of visits exceeds.

    wrong_above, wrong_below: the shares of these, and of the others, that are taken for somebody else; NaN of none.
    """

    share: float
    spread: float
    wrong_above: float
    wrong_below: float


@dataclasses.dataclass(frozen=True)
class Doubt:
    """What is known of the spread at a threshold: how it orders right and wrong identities, and limits for it.

    visits: that are given an identity of somebody absent.
    """

    visits: int
    by_spread: RiskCoverage
    limits: tuple[Limit, ...]


def doubt(
    visits: Sequence[Visit],
    described: Sequence[Described],
    truth: np.ndarray,
    threshold: float,
    shares: Sequence[float],
    *,
    nearest: int = 1,
) -> Doubt:
    """Answers each visit at `threshold`, all earlier answers being right, and holds wrong ones against the spread.

    See `reentry.compare` for the arguments. Raises InputError where no visit is given an identity.
    """
    visit, wrong = merges(visits, described, truth, threshold, nearest=nearest)
    if not len(visit):
        raise InputError(f"at a threshold of {threshold:.4f} everybody is new: a spread has nothing to tell")
    spread = np.array([described[v].spread for v in visit])
    limits = []
    for share in shares:
        limit = float(np.sort(spread)[::-1][int(share * len(spread) + 1e-9)])
        above = spread > limit
        limits.append(Limit(share, limit, _mean(wrong[above]), _mean(wrong[~above])))
    return Doubt(len(visit), risk_coverage(wrong, spread), tuple(limits))


def _mean(wrong: np.ndarray) -> float:
    return float(wrong.mean()) if len(wrong) else float("nan")
