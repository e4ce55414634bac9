"""The embedding map as a picture, with the same as JSON and as CSV."""

import os
from typing import TYPE_CHECKING, Literal

import numpy as np

from reid_jax.files.csv_text import write_csv
from reid_jax.files.json_files import write_json
from reid_jax.visualize.drawing import GREY, TITLE, new_figure, path_beside, png_path, point_styles, save_figure
from reid_jax.visualize.embedding_map import EmbeddingMap, groups
from reid_jax.visualize.failures import one_line_failures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@one_line_failures
def write_map(path: str | os.PathLike, shown: EmbeddingMap, color: Literal["identity", "camera"] = "identity") -> None:
    """Writes `map_figure` as PNG, and the coordinates as PATH.json and PATH.csv beside it.

    The JSON holds {"color", "identities": those told apart, "items": [{"name", "identity", "camera", "side", "x",
    "y"}, ...]}; the CSV has the same columns, names as in `csv_text`.

    Raises:
      InputError: as `map_figure`, or the path does not end in .png.
    """
    path = png_path(path)
    figure = map_figure(shown, color)
    columns = ("name", "identity", "camera", "side", "x", "y")
    items = [
        (str(name), int(identity), int(camera), str(side), round(float(x), 4), round(float(y), 4))
        for name, identity, camera, side, (x, y) in zip(
            shown.name, shown.identity, shown.camera, shown.side, shown.position, strict=True
        )
    ]
    records = [dict(zip(columns, item, strict=True)) for item in items]
    write_json(path_beside(path, ".json"), {"color": color, "identities": list(shown.colored), "items": records})
    write_csv(path_beside(path, ".csv"), [columns, *items])
    save_figure(path, figure)


def map_figure(shown: EmbeddingMap, color: Literal["identity", "camera"] = "identity") -> "Figure":
    """Draws the map; a query has a dark edge. Axes have no ticks: t-SNE's coordinates mean nothing by themselves.

    Each group of points is one artist whose gid is 'points-K'; `groups` tells which items it holds.

    Raises InputError where `color` is unknown or Matplotlib is missing.
    """
    named = groups(shown, color)
    figure, (axes,) = new_figure(8.6, 6.0)
    axes.set_title(
        f"Descriptors on a plane (t-SNE), by {color}", loc="left", fontsize=11, fontweight="bold", color=TITLE
    )
    styles = point_styles()
    for number, (label, rows) in enumerate(named):
        other = label is None
        style = {"color": GREY, "marker": "o"} if other else next(styles)
        axes.scatter(
            *shown.position[rows].T,
            s=14 if other else 30,
            c=style["color"],
            marker=style["marker"],
            edgecolors=np.where(shown.side[rows] == "query", TITLE, "#ffffff"),
            linewidths=0.3 if other else np.where(shown.side[rows] == "query", 1.0, 0.4),
            label="others" if other else label,
            gid=f"points-{number}",
            zorder=1 if other else 2,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")
    axes.scatter([], [], s=30, c="#ffffff", edgecolors=TITLE, linewidths=1.0, label="dark edge: query")
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        labelcolor=TITLE,
        title=color,
        title_fontsize=9.5,
        alignment="left",
        ncols=1 if len(named) <= 24 else 2,
    )
    return figure
