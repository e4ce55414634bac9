"""The points of CMC and ROC curves as values: as many as a plot can show, and what is written beside it."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from reid_jax.evaluate import Evaluation
    from reid_jax.retrieval.verification import Verification

_ROC_POINTS = 400  # drawn at most: more than a plot has pixels for


def thin_roc(verification: "Verification", left: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve at rates evenly spread over the logarithmic axis: false and true positive rates, distances.

    A rate takes the last point that does not exceed it: what a threshold reaches, never more.
    """
    false, true, distance = (
        np.asarray(verification.false_positive_rate),
        np.asarray(verification.true_positive_rate),
        np.asarray(verification.distance),
    )
    rates = np.unique(np.concatenate([np.geomspace(left, 1.0, _ROC_POINTS - 2), [1e-3, 1e-2]]))
    if len(false) <= _ROC_POINTS:
        rates = np.unique(np.concatenate([[left], false[false > left]]))
    at = np.searchsorted(false, rates, "right") - 1
    reached = at >= 0
    return rates[reached], true[at[reached]], distance[at[reached]]


def evaluation_record(evaluation: "Evaluation", max_rank: int) -> dict[str, Any]:
    """Returns the points of an evaluation's curves and its metrics as JSON takes them; see `curves.write_curves`."""
    verification = evaluation.verification
    points = thin_roc(verification, 1e-6)
    keys = ("false_positive_rate", "true_positive_rate", "distance")
    return {
        "cmc": evaluation.cmc(max_rank).tolist(),
        "roc": [dict(zip(keys, map(float, point), strict=True)) for point in zip(*points, strict=True)],
        "metrics": {key: float(value) for key, value in evaluation.metrics.items()},
        "verification": {key: float(value) for key, value in verification.metrics.items()},
    }
