"""Plots of many runs: what each group scores, Figure 1 and Figure 6 of arXiv 1910.07038."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid_jax.reporting import paper
from reid_jax.reporting.cycle_curves import cycle_curves
from reid_jax.reporting.groups import Gathered, Group, Score, label, scored_rows, shared_differences
from reid_jax.reporting.runs import HEADLINE, HELD_OUT
from reid_jax.visualize.drawing import (
    BLUE,
    GREEN,
    GREY,
    LABEL,
    TITLE,
    VERMILION,
    new_figure,
    point_styles,
    save_figure,
    style_axes,
)
from reid_jax.visualize.failures import one_line_failures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"rank1": "rank-1", "mAP": "mAP"}
_CURVES = {"last": ("last weights", VERMILION), "swa": ("SWA", GREEN), "swag": ("SWAG", BLUE)}
_LONG = 60  # characters of a row's name


def write_plots(gathered: Gathered, folder: Path) -> list[Path]:
    """Writes runs.png, figure1.png and, where there are second phases, figure6.png; returns the files.

    Raises InputError where one cannot be drawn.
    """
    figures = {"runs.png": runs_figure, "figure1.png": parameters_figure}
    if cycle_curves(gathered):
        figures["figure6.png"] = cycles_figure
    for name, figure in figures.items():
        _write_plot(folder / name, figure, gathered)
    return [folder / name for name in figures]


@one_line_failures
def _write_plot(path: Path, figure: Callable[[Gathered], "Figure"], gathered: Gathered) -> None:
    save_figure(path, figure(gathered))


def runs_figure(gathered: Gathered) -> "Figure":
    """Draws rank-1 and mAP of every group: a dot a seed, a bar for the mean and the standard deviation."""
    rows = scored_rows(gathered)
    figure, axes = new_figure(11.5, 1.6 + 0.3 * len(rows), 1, 2)
    shared = shared_differences(gathered.groups)
    several = len({data for _, data, *_ in rows}) > 1
    names = [
        _row_name(label(group, data, shared), weights, f"on {data.partition(':')[0]}" if several else "")
        for group, data, weights, _ in rows
    ]
    for panel, (plot, metric) in enumerate(zip(axes, HEADLINE, strict=True)):
        style_axes(plot, f"{NAMES[metric]} (%)", "a dot a seed; mean ± standard deviation")
        plot.grid(axis="x", color=GREY, linewidth=0.5)
        for height, (*_, weights, score) in enumerate(rows):
            _draw_row(plot, height, score, metric, {"trained": VERMILION, "swa": GREEN, "swag": BLUE}[weights])
        plot.set_ylim(len(rows) - 0.5, -0.5)
        plot.set_yticks(range(len(rows)), names if panel == 0 else [""] * len(rows))
    return figure


def _draw_row(axes: "Axes", height: int, score: Score, metric: str, color: str) -> None:
    values = 100 * np.array(score.values[metric])
    axes.plot(values, np.full(len(values), height), "o", color=color, alpha=0.4, markersize=4, markeredgewidth=0)
    axes.errorbar(
        values.mean(), height, xerr=100 * (score.spread(metric) or 0.0), fmt="|", color=color, markersize=11, capsize=3
    )


def _row_name(name: str, *details: str) -> str:
    """The label of a group, and details that must be seen, each shortened where it is long."""
    return ", ".join(filter(None, map(_short, (name, *details))))


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"


def parameters_figure(gathered: Gathered) -> "Figure":
    """Figure 1: rank-1 and mAP over millions of parameters; the paper's figures, of Market-1501, are hollow."""
    sets = [
        data for data in dict.fromkeys(data for _, data, *_ in scored_rows(gathered)) if not data.startswith(HELD_OUT)
    ]
    sets = sets or [paper.TABLE4_SETS[0]]
    figure, axes = new_figure(11.0, 4.2 * len(sets), len(sets), 2)
    shared = shared_differences(gathered.groups)
    for line, data in enumerate(sets):
        best = [_best(group, data) for group in gathered.groups]
        handles, names = [], []  # label= would leave out a name that begins with '_'
        for plot, metric in zip(axes[2 * line : 2 * line + 2], HEADLINE, strict=True):
            style_axes(plot, f"{NAMES[metric]} (%), {_short(data.partition(':')[0])}", "million parameters")
            if data.partition(":")[0] == paper.TABLE4_SETS[0]:
                _draw_printed(plot, metric)
            for style, group, score in zip(point_styles(), gathered.groups, best, strict=False):
                if score is not None:
                    spread = 100 * (score.spread(metric) or 0.0)
                    name = _row_name(label(group, data, shared))
                    point = plot.errorbar(
                        group.parameters / 1e6,
                        100 * score.mean(metric),
                        yerr=spread,
                        fmt=style["marker"],
                        color=style["color"],
                        markersize=6,
                        capsize=3,
                    )
                    if metric == HEADLINE[0]:
                        handles.append(point)
                        names.append(name)
            plot.margins(x=0.12, y=0.12)
        axes[2 * line].legend(handles, names, frameon=False, fontsize=7, labelcolor=TITLE, loc="best")
    return figure


def _draw_printed(axes: "Axes", metric: str) -> None:
    for name, (millions, *figures) in paper.FIGURE1.items():
        value = figures[HEADLINE.index(metric)]
        axes.plot(millions, value, "o", markerfacecolor="none", markeredgecolor=LABEL, markersize=6)
        axes.annotate(
            f"{name}, printed", (millions, value), textcoords="offset points", xytext=(6, 4), fontsize=7, color=LABEL
        )


def _best(group: Group, data: str) -> Score | None:
    """The score that a group is for: SWAG of a second phase, else the last weights."""
    return (group.score(data, "swag") if group.second_phase else None) or group.score(data, "trained")


def cycles_figure(gathered: Gathered) -> "Figure":
    """Figure 6: last, SWA and SWAG weights at the ends of the second phase's cycles; the band is the seeds' spread."""
    groups = cycle_curves(gathered)
    figure, axes = new_figure(11.0, 4.0 * len(groups), len(groups), 2)
    shared = shared_differences(gathered.groups)
    for line, (group, curves) in enumerate(groups):
        title = _row_name(
            label(group, shared=shared), f"{len(group.runs)} seeds" if len(group.runs) > 1 else "1 seed", ""
        )
        for plot, metric in zip(axes[2 * line : 2 * line + 2], HEADLINE, strict=True):
            style_axes(plot, f"{NAMES[metric]} (%)", f"epoch of the second phase\n{title}")
            for curve, (name, color) in _CURVES.items():
                if metric in curves.get(curve, {}):
                    _draw_curve(plot, curves["epoch"][""], curves[curve][metric], name, color)
            plot.legend(frameon=False, fontsize=9, labelcolor=TITLE, loc="best")
    return figure


def _draw_curve(axes: "Axes", epoch: np.ndarray, values: np.ndarray, name: str, color: str) -> None:
    mean: Sequence[float] = 100 * values.mean(0)
    axes.plot(epoch, mean, color=color, linewidth=1.8, marker="o", markersize=3.5, label=name)
    if len(values) > 1:
        spread = 100 * values.std(0, ddof=1)
        axes.fill_between(epoch, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0)
