"""Figure 6 of arXiv 1910.07038 as values: scores of the last, SWA and SWAG weights at the ends of cycles."""

import re

import numpy as np

from reid_jax.reporting.groups import Gathered, Group
from reid_jax.reporting.runs import HEADLINE

CURVES = ("last", "swa", "swag")
_CURVE_KEY = re.compile(rf"({'|'.join(CURVES)})_({'|'.join(HEADLINE)})")


def cycle_curves(gathered: Gathered) -> list[tuple[Group, dict[str, dict[str, np.ndarray]]]]:
    """Figure 6: (second-phase group, {'epoch': {'': float [c]}, curve: {metric: float [seeds, c]}}), fractions.

    The curves are 'last', 'swa' and 'swag', at the ends of cycles that all runs of the group have reached.
    """
    curves_of_groups = []
    for group in gathered.groups:
        series: list[dict[str, dict[float, float]]] = []
        for run in group.runs:
            points: dict[str, dict[float, float]] = {}
            for record in run.records:
                for key, value in record.items():
                    if _CURVE_KEY.fullmatch(key) and value is not None:
                        points.setdefault(key, {})[round(float(record["epoch"]), 3)] = float(value)
            series.append(points)
        keys = [key for key in series[0] if all(key in points for points in series)]
        if not group.second_phase or not keys:
            continue
        epochs = sorted(set.intersection(*(set(points[key]) for points in series for key in keys)))
        if not epochs:
            continue
        curves: dict[str, dict[str, np.ndarray]] = {"epoch": {"": np.array(epochs)}}
        for curve in CURVES:
            for metric in HEADLINE:
                if f"{curve}_{metric}" in keys:
                    values = [[points[f"{curve}_{metric}"][epoch] for epoch in epochs] for points in series]
                    curves.setdefault(curve, {})[metric] = np.array(values)
        curves_of_groups.append((group, curves))
    return curves_of_groups
