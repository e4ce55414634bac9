"""Curves of evaluations: CMC, ROC, risk and coverage, and rank-1 and mAP by the height of the queries."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from reid_jax.errors import InputError
from reid_jax.files.json_files import write_json
from reid_jax.visualize.curve_points import evaluation_record, thin_roc
from reid_jax.visualize.drawing import (
    AXIS,
    BLUE,
    GREY,
    LABEL,
    TITLE,
    VERMILION,
    line_styles,
    new_figure,
    path_beside,
    png_path,
    save_figure,
    style_axes,
)
from reid_jax.visualize.failures import one_line_failures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from reid_jax.evaluate import Evaluation
    from reid_jax.retrieval.risk import RiskCoverage

MAX_RANK = 20
MARKED_RATES = ("1e-3", "1e-2")  # false-positive rates that the ROC plot marks


def cmc_figure(evaluations: Mapping[str, "Evaluation"], max_rank: int = MAX_RANK) -> "Figure":
    """Draws the CMC curves of evaluations by their names, each by its protocol, ranks 1 to max_rank.

    Raises InputError where there is no evaluation or Matplotlib is missing.
    """
    _check(evaluations)
    figure, (axes,) = new_figure(5.4, 3.8)
    _draw_cmc(axes, evaluations, max_rank)
    return figure


def roc_figure(evaluations: Mapping[str, "Evaluation"]) -> "Figure":
    """Draws the ROC curves of evaluations by their names over a logarithmic axis, with FPR 1e-3 and 1e-2 marked.

    Raises InputError where there is no evaluation or Matplotlib is missing.
    """
    _check(evaluations)
    figure, (axes,) = new_figure(5.4, 3.8)
    _draw_roc(axes, evaluations)
    return figure


def height_figure(by_height: Mapping[int, Mapping[str, float]]) -> "Figure":
    """Draws rank-1 and mAP over the height of the queries in pixels; `by_height` is height -> metrics.

    Raises InputError where there is no height or Matplotlib is missing.
    """
    if not by_height:
        raise InputError("metrics of no query height were given; give at least one height")
    figure, (axes,) = new_figure(5.4, 3.8)
    style_axes(axes, "By the height of the queries (%)", "height of the query's image in pixels")
    heights = sorted(by_height)
    for color, (key, label) in zip((BLUE, VERMILION), (("rank1", "rank-1"), ("mAP", "mAP")), strict=True):
        values = [100 * by_height[height][key] for height in heights]
        axes.plot(heights, values, color=color, linewidth=1.8, marker="o", markersize=4.5, label=label)
        for height, value in zip(heights, values, strict=True):
            axes.annotate(
                f"{value:.1f}",
                (height, value),
                textcoords="offset points",
                xytext=(0, 7 if key == "rank1" else -14),
                ha="center",
                fontsize=8,
                color=LABEL,
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(heights, [str(height) for height in heights])
    axes.set_xticks([], minor=True)
    axes.margins(x=0.08)
    axes.set_ylim(-9, 105)  # a number below a point near 0 has room
    axes.set_yticks(range(0, 101, 20))
    axes.legend(frameon=False, fontsize=9, labelcolor=TITLE, loc="lower right")
    return figure


def risk_figure(by: Mapping[str, "RiskCoverage"]) -> "Figure":
    """Draws risk over coverage by the names of the uncertainties, with what guessing and an oracle would reach.

    Raises InputError where there is no curve or Matplotlib is missing.
    """
    if not by:
        raise InputError("risk-coverage curves of no uncertainty were given; give at least one")
    figure, (axes,) = new_figure(5.4, 3.8)
    style_axes(axes, "Wrong nearest items among the queries answered (%)", "queries answered, the surest first (%)")
    first = next(iter(by.values()))
    axes.axhline(
        100 * first.random, color=GREY, linewidth=1.2, linestyle="--", label=f"chance, {100 * first.random:.1f} %"
    )
    axes.plot(
        100 * first.coverage,
        100 * first.oracle_risk,
        color=GREY,
        linewidth=1.2,
        linestyle=":",
        label=f"oracle, {100 * first.oracle:.1f} %",
    )
    for style, (name, curve) in zip(line_styles(), by.items(), strict=False):
        label = f"by {name}, {100 * curve.area:.1f} %"
        axes.plot(100 * curve.coverage, 100 * curve.risk, linewidth=1.8, label=label, **style)
    axes.set_xlim(0, 100)
    highest = max(100 * first.random, *(100 * curve.risk.max() for curve in by.values()))
    axes.set_ylim(0, 1.4 * highest)  # room for the legend above every curve
    title = "area under the curve"
    axes.legend(frameon=False, fontsize=9, labelcolor=TITLE, title=title, title_fontsize=9, loc="upper left", ncols=2)
    return figure


@one_line_failures
def write_risk_curve(path: str | os.PathLike, by: Mapping[str, "RiskCoverage"]) -> None:
    """Writes `risk_figure` as PNG; raises InputError as it does, or where the path does not end in .png."""
    path = png_path(path)
    save_figure(path, risk_figure(by))


@one_line_failures
def write_curves(path: str | os.PathLike, evaluations: Mapping[str, "Evaluation"], max_rank: int = MAX_RANK) -> None:
    """Writes the CMC and ROC curves side by side as PNG, and their points as PATH.json beside it.

    The JSON holds for each name {"cmc": [rank-1, ...], "roc": [{"false_positive_rate", "true_positive_rate",
    "distance"}, ...] (at most 400 points), "metrics", "verification"}; null is what is not defined.

    Raises:
      InputError: no evaluation, Matplotlib is missing, or the path does not end in .png.
    """
    path = png_path(path)
    _check(evaluations)
    figure, (left, right) = new_figure(10.8, 4.0, 1, 2)
    _draw_cmc(left, evaluations, max_rank)
    _draw_roc(right, evaluations)
    write_json(
        path_beside(path, ".json"),
        {name: evaluation_record(evaluation, max_rank) for name, evaluation in evaluations.items()},
    )
    save_figure(path, figure)


@one_line_failures
def write_height_curve(path: str | os.PathLike, by_height: Mapping[int, Mapping[str, float]]) -> None:
    """Writes `height_figure` as PNG; raises InputError as it does, or where the path does not end in .png."""
    path = png_path(path)
    save_figure(path, height_figure(by_height))


def _check(evaluations: Mapping[str, "Evaluation"]) -> None:
    if not evaluations:
        raise InputError("there is no evaluation to draw curves of; name at least one")


def _draw_cmc(axes: "Axes", evaluations: Mapping[str, "Evaluation"], max_rank: int) -> None:
    from matplotlib.ticker import MaxNLocator

    style_axes(axes, "CMC: queries with a match up to rank k (%)", "rank k")
    rank = np.arange(1, max_rank + 1)
    lowest, handles, labels = 100.0, [], []
    for style, (name, evaluation) in zip(line_styles(), evaluations.items(), strict=False):
        curve = 100 * evaluation.cmc(max_rank)
        lowest = min(lowest, curve[0])
        label = f"rank-1 {curve[0]:.1f} %, mAP {100 * evaluation.metrics['mAP']:.1f} %"
        labels.append(label if len(evaluations) == 1 else f"{name}: {label}")
        handles += axes.plot(rank, curve, linewidth=1.8, marker="o", markersize=3, **style)
    axes.set_xlim(0.5, max_rank + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylim(_floor(lowest), 101)
    axes.legend(handles, labels, frameon=False, fontsize=9, labelcolor=TITLE, loc="lower right")


def _floor(lowest: float) -> float:
    """The lower end of a percent axis: 0, unless all of the curve is high up, where only the top tells it apart."""
    return 0.0 if lowest < 60 else 10 * (lowest // 10) - 10


def _draw_roc(axes: "Axes", evaluations: Mapping[str, "Evaluation"]) -> None:
    from matplotlib.ticker import NullLocator

    style_axes(axes, "ROC: pairs of one person found (%)", "pairs of two people taken for one (false-positive rate)")
    # One wrong pair is the smallest rate there is; beyond 1e-6 nobody decides.
    left = min(1 / max(evaluation.verification.negatives, 1) for evaluation in evaluations.values())
    left = 10 ** np.floor(np.log10(np.clip(left, 1e-6, 1e-3) * 1.0001))
    for rate in MARKED_RATES:
        axes.axvline(float(rate), color=AXIS, linewidth=1, linestyle=(0, (2, 2)))
    chance = np.geomspace(left, 1, 200)
    handles = axes.plot(chance, 100 * chance, color=GREY, linewidth=1.2, linestyle="--")
    labels = ["guessing"]
    for style, (name, evaluation) in zip(line_styles(), evaluations.items(), strict=False):
        verification = evaluation.verification
        false, true, _ = thin_roc(verification, left)
        labels.append(name if len(evaluations) > 1 else "this network")
        handles += axes.step(false, 100 * true, where="post", linewidth=1.8, **style)
        for rate in MARKED_RATES:
            value = 100 * verification.metrics[f"tpr_at_fpr_{rate}"]
            axes.plot(float(rate), value, "o", color=style["color"], markersize=4.5)
            if len(evaluations) == 1:
                axes.annotate(
                    f"{value:.1f} %",
                    (float(rate), value),
                    textcoords="offset points",
                    xytext=(-6, 5),
                    ha="right",
                    fontsize=9,
                    color=TITLE,
                )
    axes.set_xscale("log")
    axes.set_xlim(left, 1)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 101)
    axes.legend(handles, labels, frameon=False, fontsize=9, labelcolor=TITLE, loc="best")
