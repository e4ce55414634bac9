"""Training curves, of one run or of several on one plot."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

# The panels: title, unit, logarithmic, and the records' keys with what the legend says.
PANELS = (
    ("Loss", "", False, {"loss": "total", "cross_entropy": "cross-entropy", "triplet": "triplet"}),
    ("Training accuracy", "%", False, {"accuracy": "accuracy"}),
    ("Validation", "%", False, {"val_rank1": "rank-1", "val_mAP": "mAP"}),
    ("Learning rate", "", True, {"learning_rate": "learning rate"}),
    ("GeM's exponent p", "", False, {"gem_p_global": "global stream", "gem_p_local": "local stream"}),
)
# Of several runs a panel shows one key: colour and dashes tell the runs apart.
PANELS_OF_SEVERAL = (
    ("Loss", "", False, {"loss": "total"}),
    ("Training accuracy", "%", False, {"accuracy": "accuracy"}),
    ("Validation rank-1", "%", False, {"val_rank1": "rank-1"}),
    ("Validation mAP", "%", False, {"val_mAP": "mAP"}),
    ("Learning rate", "", True, {"learning_rate": "learning rate"}),
    ("GeM's exponent p, global stream", "", False, {"gem_p_global": "global stream"}),
    ("GeM's exponent p, local stream", "", False, {"gem_p_local": "local stream"}),
)
_FEW = 40  # single points, and the few of a validation, must be seen


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
    panels = PANELS if len(runs) == 1 else PANELS_OF_SEVERAL
    drawn = {name: [r for r in records if _values(r, panels)] for name, records in runs.items()}
    for name, records in drawn.items():
        if not records:
            known = ", ".join(key for panel in panels for key in panel[3])
            raise InputError(f"none of {len(runs[name])} records of {name} has a value to draw; known are {known}")
    if not drawn:
        raise InputError("training curves of no run were asked for; name at least one")
    every = [record for records in drawn.values() for record in records]
    axis = "epoch" if all("epoch" in r for r in every) else "step"
    if not all(axis in r for r in every):
        raise InputError("records lack both 'step' and 'epoch' for some values; give one of them in every record")
    panels = [
        (*panel[:3], {key: legend for key, legend in panel[3].items() if any(r.get(key) is not None for r in every)})
        for panel in panels
    ]
    panels = [panel for panel in panels if panel[3]]
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure, axes = new_figure(5.4 * columns, 3.2 * lines, lines, columns)
    for unused in axes[len(panels) :]:
        unused.remove()
    limits = [limit(r[axis] for r in every) for limit in (min, max)]
    for plot, panel in zip(axes, panels, strict=False):
        style_axes(plot, f"{panel[0]} ({panel[1]})" if panel[1] else panel[0], axis)
        _draw_panel(plot, drawn, panel, axis, limits)
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


def _values(record: Mapping[str, Any], panels: Sequence[tuple]) -> bool:
    return any(record.get(key) is not None for panel in panels for key in panel[3])


def _draw_panel(plot: "Axes", runs: Mapping[str, Records], panel: tuple, axis: str, limits: list[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    _, unit, logarithmic, keys = panel
    smallest = np.inf
    for run_style, records in zip(line_styles(), runs.values(), strict=False):
        for color, (key, legend) in zip(COLORS, keys.items(), strict=False):
            points = sorted((r[axis], r[key]) for r in records if r.get(key) is not None)
            if not points:
                continue
            x, y = np.array(points, float).T
            y = 100 * y if unit == "%" else y
            smallest = min(smallest, y.min())
            style = {"color": color} if len(runs) == 1 else run_style
            marker = "o" if len(points) <= _FEW else None
            plot.plot(x, y, linewidth=1.8, marker=marker, markersize=3.5, label=legend, **style)
    left, right = limits
    if left < right:
        plot.set_xlim(left, right + 0.01 * (right - left))
    plot.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if logarithmic and smallest > 0:
        plot.set_yscale("log")
    elif smallest >= 0:
        plot.set_ylim(bottom=0)
    if len(keys) > 1:
        plot.legend(frameon=False, fontsize=9, labelcolor=TITLE)
