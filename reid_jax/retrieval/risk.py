"""How well an uncertainty foretells wrong answers: risk against coverage, and the area under it.

El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 2010; Geifman and El-Yaniv,
"Selective Classification for Deep Neural Networks", NeurIPS 2017. An answer is a query's nearest valid gallery item.
"""

import dataclasses

import numpy as np

from reid_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class RiskCoverage:
    """Risk at every coverage: the share of wrong answers among the k least uncertain ones, for k = 1 to n.

    coverage, risk: float64 [n]; oracle_risk: the same of an uncertainty that knows the wrong answers. area, oracle: the
    mean of the two over all coverages (AURC), lower is better. random: that of an uncertainty that says nothing, which
    is the share of wrong answers.
    """

    coverage: np.ndarray
    risk: np.ndarray
    oracle_risk: np.ndarray
    area: float
    random: float
    oracle: float


def risk_coverage(wrong: np.ndarray, uncertainty: np.ndarray) -> RiskCoverage:
    """Orders answers by their uncertainty and measures the risk of keeping the k least uncertain.

    Args:
      wrong: bool [n], whether the answer is wrong.
      uncertainty: float [n]; among equals the order does not matter: each counts with the mean of its group.

    Raises:
      InputError: lengths differ, there is no answer, or an uncertainty is not finite.
    """
    wrong, uncertainty = np.asarray(wrong, bool), np.asarray(uncertainty, np.float64)
    if wrong.ndim != 1 or wrong.shape != uncertainty.shape or not len(wrong):
        raise InputError(
            f"risk-coverage got {wrong.shape} answers and {uncertainty.shape} uncertainties; give one of each for "
            "every query"
        )
    if not np.isfinite(uncertainty).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(uncertainty))} uncertainties are not finite")
    _, group, size = np.unique(uncertainty, return_inverse=True, return_counts=True)
    share = np.bincount(group, wrong) / size
    taken = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(np.repeat(share, size)) / taken
    best = np.maximum(taken - np.count_nonzero(~wrong), 0) / taken
    return RiskCoverage(taken / len(wrong), risk, best, float(risk.mean()), float(wrong.mean()), float(best.mean()))
