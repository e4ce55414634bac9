"""Training curves, of one run or of several on one plot."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reid_jax.errors import InputError
from reid_jax.visualize.drawing import (
    COLORS,
    TITLE,
    line_styles,
    new_figure,
    png_path,
    save_figure,
    style_axes,
)
from reid_jax.visualize.failures import one_line_failures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, Any]]


class Panel(NamedTuple):
    """A plot: its title, unit and scale, and the keys of the records that it shows, with their names in the legend."""

    title: str
    unit: str
    logarithmic: bool
    keys: Mapping[str, str]


PANELS = (
    Panel("Loss", "", False, {"loss": "total", "cross_entropy": "cross-entropy", "triplet": "triplet"}),
    Panel("Training accuracy", "%", False, {"accuracy": "accuracy"}),
    Panel("Validation", "%", False, {"val_rank1": "rank-1", "val_mAP": "mAP"}),
    Panel("Learning rate", "", True, {"learning_rate": "learning rate"}),
    Panel("GeM's exponent p", "", False, {"gem_p_global": "global stream", "gem_p_local": "local stream"}),
)
# Of several runs a panel shows one key: colour and dashes tell the runs apart.
PANELS_OF_SEVERAL = (
    Panel("Loss", "", False, {"loss": "total"}),
    Panel("Training accuracy", "%", False, {"accuracy": "accuracy"}),
    Panel("Validation rank-1", "%", False, {"val_rank1": "rank-1"}),
    Panel("Validation mAP", "%", False, {"val_mAP": "mAP"}),
    Panel("Learning rate", "", True, {"learning_rate": "learning rate"}),
    Panel("GeM's exponent p, global stream", "", False, {"gem_p_global": "global stream"}),
    Panel("GeM's exponent p, local stream", "", False, {"gem_p_local": "local stream"}),
)
_FEW = 40  # single points, and the few of a validation, must be seen


class _Curves(NamedTuple):
    """What is drawn: each run's records that hold a value, the panels that have one, and the axis with its ends."""

    runs: dict[str, list[Mapping[str, Any]]]
    panels: list[Panel]
    axis: str
    limits: tuple[float, float]


def _choose_curves(runs: Mapping[str, Records]) -> _Curves:
    """Finds what there is to draw; raises InputError where a run has nothing or no common axis."""
    if not runs:
        raise InputError("there is no run to draw training curves of; name at least one")
    panels = PANELS if len(runs) == 1 else PANELS_OF_SEVERAL
    keys = [key for panel in panels for key in panel.keys]
    drawn = {name: [r for r in records if any(r.get(k) is not None for k in keys)] for name, records in runs.items()}
    for name, records in drawn.items():
        if not records:
            known = ", ".join(keys)
            raise InputError(f"none of {len(runs[name])} records of {name} has a value to draw; known are {known}")
    every = [record for records in drawn.values() for record in records]
    axis = "epoch" if all("epoch" in record for record in every) else "step"
    if not all(axis in record for record in every):
        raise InputError("records lack both 'step' and 'epoch' for some values; give one of them in every record")
    held = {key for record in every for key in keys if record.get(key) is not None}
    panels = [p._replace(keys={key: legend for key, legend in p.keys.items() if key in held}) for p in panels]
    positions = [record[axis] for record in every]
    return _Curves(drawn, [panel for panel in panels if panel.keys], axis, (min(positions), max(positions)))


def training_figure(runs: Mapping[str, Records]) -> "Figure":
    """Draws the metric records of runs, by their names, as small multiples over epochs.

    Over steps where a record has no epoch. One run: a colour for each loss or metric. Several: a colour for each run,
    named once above the panels.

    Args:
      runs: records by run: each a dict with 'step' and/or 'epoch' and any of 'loss', 'cross_entropy', 'triplet',
        'accuracy', 'learning_rate', 'val_rank1', 'val_mAP' (fractions; drawn in percent), 'gem_p_global',
        'gem_p_local'. A record may lack keys or hold None; a panel without values is left out; other keys are not
        drawn.

    Raises:
      InputError: Matplotlib is missing, a run has nothing to draw, or records have neither step nor epoch.
    """
    curves = _choose_curves(runs)
    columns = min(len(curves.panels), 2)
    lines = -(-len(curves.panels) // columns)
    figure, axes = new_figure(5.4 * columns, 3.2 * lines, lines, columns)
    for unused in axes[len(curves.panels) :]:
        unused.remove()
    for plot, panel in zip(axes, curves.panels, strict=False):
        style_axes(plot, f"{panel.title} ({panel.unit})" if panel.unit else panel.title, curves.axis)
        _draw_panel(plot, panel, curves)
    if len(runs) > 1:
        handles = {}
        for style, name in zip(line_styles(), runs, strict=False):
            handles[name] = axes[0].plot([], [], linewidth=1.8, **style)[0]
        figure.legend(
            handles.values(),
            handles,
            loc="outside upper left",
            ncols=min(len(runs), 4),
            frameon=False,
            fontsize=9,
            labelcolor=TITLE,
        )
    return figure


@one_line_failures
def training_curves(path: str | os.PathLike, runs: Records | Mapping[str, Records]) -> None:
    """Writes `training_figure` of one run's records, or of several runs' by their names, as PNG.

    Raises InputError as `training_figure`, or where the path does not end in .png.
    """
    path = png_path(path)
    save_figure(path, training_figure(runs if isinstance(runs, Mapping) else {"the run": runs}))


def _draw_panel(plot: "Axes", panel: Panel, curves: _Curves) -> None:
    from matplotlib.ticker import MaxNLocator

    smallest = np.inf
    for run_style, records in zip(line_styles(), curves.runs.values(), strict=False):
        for color, (key, legend) in zip(COLORS, panel.keys.items(), strict=False):
            points = sorted((r[curves.axis], r[key]) for r in records if r.get(key) is not None)
            if not points:
                continue
            x, y = np.array(points, float).T
            y = 100 * y if panel.unit == "%" else y
            smallest = min(smallest, y.min())
            style = {"color": color} if len(curves.runs) == 1 else run_style
            marker = "o" if len(points) <= _FEW else None
            plot.plot(x, y, linewidth=1.8, marker=marker, markersize=3.5, label=legend, **style)
    left, right = curves.limits
    if left < right:
        plot.set_xlim(left, right + 0.01 * (right - left))
    plot.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if panel.logarithmic and smallest > 0:
        plot.set_yscale("log")
    elif smallest >= 0:
        plot.set_ylim(bottom=0)
    if len(panel.keys) > 1:
        plot.legend(frameon=False, fontsize=9, labelcolor=TITLE)
