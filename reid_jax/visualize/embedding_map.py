"""A map of descriptors in two dimensions (t-SNE): near on the map is near for the network, mostly."""

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Literal

import numpy as np

from reid_jax.errors import InputError
from reid_jax.files.csv_text import csv_text
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import replace_file
from reid_jax.visualize.drawing import GREY, TITLE, new_figure, picture, png_path, point_styles, require, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reid_jax.embed import Items

ITEMS = 1000
IDENTITIES = 20
LEAST_ITEMS = 8  # fewer have no neighbourhoods to keep
MOST_IDENTITIES = 42  # colours and shapes that differ
UNKNOWN_CAMERA = -1
COLOR_BY = ("identity", "camera")


@dataclasses.dataclass(frozen=True)
class EmbeddingMap:
    """Items placed on a plane; all arrays share their first axis.

    position: float32 [n, 2]. identity, camera: int32 [n]. name: str [n]. side: str [n], 'query' or 'gallery'.
    colored: the identities that a map by identity tells apart, the rest is grey.
    """

    position: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    name: np.ndarray
    side: np.ndarray
    colored: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.identity)


def choose_items(
    query_identity: np.ndarray,
    gallery_identity: np.ndarray,
    *,
    items: int = ITEMS,
    identities: int = IDENTITIES,
    seed: int = 0,
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Chooses what a map shows: all items of some identities, and others drawn at random until it is full.

    The identities are drawn by `seed` among those on both sides, so no distractor of the gallery is among them.

    Args:
      query_identity: int [nq]. gallery_identity: int [ng].
      items: how many items at most. identities: how many of them are told apart, at most.

    Returns:
      int64 [at most items], ascending, numbers into queries followed by gallery items; and the identities, ascending.

    Raises:
      InputError: items or identities are out of range.
    """
    if items < LEAST_ITEMS:
        raise InputError(f"a map of {items} items was asked for; give at least {LEAST_ITEMS}")
    if not 1 <= identities <= MOST_IDENTITIES:
        raise InputError(
            f"a map with {identities} identities in colour was asked for; give 1 to {MOST_IDENTITIES}: more colours "
            "and shapes cannot be told apart"
        )
    rng = np.random.default_rng(seed)
    identity = np.concatenate([query_identity, gallery_identity])
    both = np.intersect1d(query_identity, gallery_identity)
    chosen: list[np.ndarray] = []
    colored: list[int] = []
    left = items
    for number in rng.permutation(both)[:identities].tolist():
        rows = np.flatnonzero(identity == number)
        if len(rows) > left:
            rows = np.sort(rng.choice(rows, left, replace=False))
        if not len(rows):
            break
        chosen.append(rows)
        colored.append(int(number))
        left -= len(rows)
    others = np.flatnonzero(~np.isin(identity, colored))
    chosen.append(rng.choice(others, min(left, len(others)), replace=False))
    return np.sort(np.concatenate(chosen)), tuple(sorted(colored))


def project(embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places descriptors [n, d] on a plane: float32 [n, 2], t-SNE (van der Maaten and Hinton, JMLR 2008).

    Perplexity 30, or a quarter of the items where they are few; started from the principal components; the same seed
    gives the same map. A line on stderr says that it has begun: it takes a while.

    Raises:
      InputError: scikit-learn is missing, there are fewer than 8 items, or an embedding is not finite.
    """
    embedding = np.asarray(embedding, np.float32)
    if len(embedding) < LEAST_ITEMS:
        raise InputError(f"a map of {len(embedding)} items has no neighbourhoods; give at least {LEAST_ITEMS}")
    if not np.isfinite(embedding).all():
        raise InputError("a map was asked for, but some embeddings are not finite; look at the weights")
    require("scikit-learn")
    from sklearn.manifold import TSNE

    print(f"placing {len(embedding):,} descriptors on a plane (t-SNE)", file=sys.stderr, flush=True)
    # Where all descriptors are equal there are no principal components to start from.
    start = "pca" if np.ptp(embedding, axis=0).max() > 0 and embedding.shape[1] > 1 else "random"
    tsne = TSNE(perplexity=min(30.0, len(embedding) / 4), init=start, learning_rate="auto", random_state=seed)
    return tsne.fit_transform(embedding).astype(np.float32)


def map_items(
    query: "Items", gallery: "Items", *, items: int = ITEMS, identities: int = IDENTITIES, seed: int = 0
) -> EmbeddingMap:
    """Chooses items of both sides (`choose_items`) and places them (`place_items`).

    Raises InputError as these do.
    """
    rows, colored = choose_items(query.identity, gallery.identity, items=items, identities=identities, seed=seed)
    count = len(query.identity)
    return place_items(_take(query, rows[rows < count]), _take(gallery, rows[rows >= count] - count), colored, seed)


def place_items(query: "Items", gallery: "Items", colored: tuple[int, ...], seed: int = 0) -> EmbeddingMap:
    """Places all items of both sides (`project`); `colored` are the identities to tell apart."""

    def both(field: str) -> np.ndarray:
        return np.concatenate([getattr(query, field), getattr(gallery, field)])

    side = np.repeat(["query", "gallery"], [len(query.identity), len(gallery.identity)])
    return EmbeddingMap(project(both("embedding"), seed), both("identity"), both("camera"), both("name"), side, colored)


def _take(items: "Items", rows: np.ndarray) -> "Items":
    return dataclasses.replace(
        items, **{field.name: getattr(items, field.name)[rows] for field in dataclasses.fields(items)}
    )


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


def groups(shown: EmbeddingMap, color: str) -> list[tuple[str | None, np.ndarray]]:
    """Returns what is drawn alike, in order: (name or None for the grey rest, int64 rows of the map).

    Raises InputError where `color` is unknown.
    """
    if color not in COLOR_BY:
        raise InputError(f"a map coloured by {color!r} was asked for; choose identity or camera")
    if color == "camera":
        names = {number: "unknown" if number == UNKNOWN_CAMERA else str(number) for number in np.unique(shown.camera)}
        return [(name, np.flatnonzero(shown.camera == number)) for number, name in names.items()]
    rest = np.flatnonzero(~np.isin(shown.identity, shown.colored))
    named = [(str(number), np.flatnonzero(shown.identity == number)) for number in shown.colored]
    return named + ([(None, rest)] if len(rest) else [])


@picture
def write_map(path: str | os.PathLike, shown: EmbeddingMap, color: Literal["identity", "camera"] = "identity") -> None:
    """Writes `map_figure` as PNG, and the coordinates as JSON and as CSV beside it under the same stem.

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
    write_json(path.with_suffix(".json"), {"color": color, "identities": list(shown.colored), "items": records})
    text = csv_text([columns, *items])
    replace_file(path.with_suffix(".csv"), lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))
    save_figure(path, figure)
