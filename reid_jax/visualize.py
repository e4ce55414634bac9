"""Pictures of results: sheets of ranked gallery images, and training curves."""

import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid_jax.errors import InputError
from reid_jax.retrieval import metrics, ranking

if TYPE_CHECKING:
    from reid_jax.data.split import Split
    from reid_jax.evaluate import Evaluation

# A green and a red that stay apart in the common colour blindnesses (after Okabe and Ito, 2008); the marks and
# the dashes say the same without colour.
CORRECT = (0, 135, 95)
WRONG = (213, 44, 30)
QUERY = (0, 0, 0)
INK = (34, 34, 34)
MUTED = (115, 115, 115)
RULE = (225, 225, 225)
PAPER = (255, 255, 255)

# Pixels of a sheet.
IMAGE_HEIGHT = 192
FRAME = 4
MARGIN = 28
GAP = 12
QUERY_GAP = 34
HEADER = 86
CAPTION = 44
ROW_GAP = 20
MARK = 9


def choose_rows(
    average_precision: np.ndarray,
    count: int,
    order: Literal["random", "worst", "best"] = "random",
    seed: int = 0,
) -> np.ndarray:
    """Chooses the queries of a sheet among those with a match.

    Args:
      average_precision: float [queries], NaN for a query without a match, which is never chosen.
      count: how many; fewer come back if fewer have a match.
      order: 'random' draws without replacement, in query order; 'worst' and 'best' sort by average precision,
        the lower index first at equal ones.
      seed: of the draw.

    Returns:
      int64 [at most count], indices of queries.

    Raises:
      InputError: the order is unknown or the count below 1.
    """
    if count < 1:
        raise InputError(f"a sheet of {count} rows was asked for; give at least 1")
    found = np.flatnonzero(~np.isnan(average_precision))
    if order == "random":
        rng = np.random.default_rng(seed)
        return np.sort(rng.choice(found, min(count, len(found)), replace=False))
    if order not in ("worst", "best"):
        raise InputError(f"order of rows {order!r} is unknown; give 'random', 'worst' or 'best'")
    sign = 1 if order == "worst" else -1
    return found[np.argsort(sign * np.asarray(average_precision)[found], kind="stable")][:count]


def ranked_sheet(
    query: "Split",
    gallery: "Split",
    index: np.ndarray,
    distance: np.ndarray,
    *,
    rows: Sequence[int],
    top: int = 10,
    average_precision: np.ndarray | None = None,
) -> Image.Image:
    """Draws queries, each with its nearest gallery images in order of distance.

    A result of the query's identity has a solid green frame and a tick, any other a dashed red frame and a
    cross. Under an image stands its Euclidean distance; under a query the rank of the first correct result and,
    if given, the average precision.

    Args:
      query, gallery: the splits that were ranked.
      index: int [queries, k], gallery items nearest first, -1 for none, as from `retrieval.ranking.nearest`.
      distance: float [queries, k].
      rows: the queries to draw, in order.
      top: results in a row, at most k.
      average_precision: float [queries].

    Returns:
      An RGB image on white.

    Raises:
      InputError: shapes disagree with the splits, or a row or an index is outside of them.
    """
    index, distance, rows = _check_results(query, gallery, index, distance, rows, top, average_precision)
    height, width = gallery.image.shape[1:3]
    size = (round(width * IMAGE_HEIGHT / height), IMAGE_HEIGHT)
    cell = (size[0] + 2 * FRAME, size[1] + 2 * FRAME)
    first_result = MARGIN + cell[0] + QUERY_GAP
    row_height = cell[1] + CAPTION + ROW_GAP
    sheet_width = max(first_result + top * (cell[0] + GAP) - GAP + MARGIN, 760)
    sheet = Image.new("RGB", (sheet_width, HEADER + len(rows) * row_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    fonts = {name: ImageFont.load_default(points) for name, points in (("title", 22), ("text", 15))}
    _draw_header(draw, fonts, sheet_width, len(rows), top)
    for column in range(top):
        center = first_result + column * (cell[0] + GAP) + cell[0] // 2
        draw.text((center, HEADER - 8), str(column + 1), MUTED, fonts["text"], anchor="ms")
    draw.text((MARGIN + cell[0] // 2, HEADER - 8), "query", MUTED, fonts["text"], anchor="ms")
    for line, i in enumerate(rows):
        y = HEADER + line * row_height
        if line:
            rule = y - ROW_GAP // 2
            draw.line((MARGIN, rule, sheet_width - MARGIN, rule), RULE, 1)
        correct = _correct(query, gallery, index, i, top)
        _draw_image(sheet, query.image[i], (MARGIN, y), size)
        _draw_frame(draw, (MARGIN, y), cell, QUERY, dashed=False)
        center = MARGIN + cell[0] // 2
        first = f"first at {np.argmax(correct) + 1}" if any(correct) else f"none in {top}"
        notes = [first]
        if average_precision is not None and not np.isnan(average_precision[i]):
            notes.append(f"AP {100 * average_precision[i]:.1f} %")
        for number, note in enumerate(notes):
            draw.text((center, y + cell[1] + 18 + 18 * number), note, INK, fonts["text"], anchor="ms")
        for column in range(top):
            place = (first_result + column * (cell[0] + GAP), y)
            center = place[0] + cell[0] // 2
            item = index[i, column]
            if item < 0:
                draw.line((center - 6, y + cell[1] // 2, center + 6, y + cell[1] // 2), MUTED, 2)
                continue
            _draw_image(sheet, gallery.image[item], place, size)
            _draw_frame(draw, place, cell, CORRECT if correct[column] else WRONG, dashed=not correct[column])
            _draw_mark(draw, (place[0] + cell[0] - MARK - 8, y + cell[1] - MARK - 8), correct[column])
            text = f"{distance[i, column]:.3f}"
            draw.text((center, y + cell[1] + 18), text, INK, fonts["text"], anchor="ms")
    return sheet


def write_ranked_sheet(
    path: str | os.PathLike,
    query: "Split",
    gallery: "Split",
    index: np.ndarray,
    distance: np.ndarray,
    *,
    rows: Sequence[int],
    top: int = 10,
    average_precision: np.ndarray | None = None,
) -> None:
    """Writes `ranked_sheet` as PNG, and what it shows as JSON beside it under the same stem.

    The JSON holds {"rows": [{"query": name, "identity", "camera", "average_precision" (null if not given),
    "results": [{"rank", "name", "identity", "camera", "distance", "correct"}, ...]}, ...]}.

    Raises:
      InputError: as `ranked_sheet`, or the path does not end in .png.
    """
    path = _png_path(path)
    sheet = ranked_sheet(query, gallery, index, distance, rows=rows, top=top, average_precision=average_precision)
    index, distance = np.asarray(index), np.asarray(distance)
    lines = []
    for i in rows:
        results = []
        for column, correct in enumerate(_correct(query, gallery, index, i, top)):
            item = index[i, column]
            if item < 0:
                continue
            results.append(
                {
                    "rank": column + 1,
                    "name": str(gallery.name[item]),
                    "identity": int(gallery.identity[item]),
                    "camera": int(gallery.camera[item]),
                    "distance": float(distance[i, column]),
                    "correct": correct,
                }
            )
        value = None if average_precision is None else float(average_precision[i])
        lines.append(
            {
                "query": str(query.name[i]),
                "identity": int(query.identity[i]),
                "camera": int(query.camera[i]),
                "average_precision": None if value is None or np.isnan(value) else value,
                "results": results,
            }
        )
    text = json.dumps({"rows": lines}, indent=1, ensure_ascii=False) + "\n"
    _write(path.with_suffix(".json"), lambda name: pathlib.Path(name).write_text(text, encoding="utf-8"))
    _write(path, lambda name: sheet.save(name, format="PNG"))


def draw_sheet(
    path: str | os.PathLike,
    query: "Split",
    gallery: "Split",
    evaluation: "Evaluation",
    *,
    rows: int,
    order: Literal["random", "worst", "best"] = "random",
    seed: int = 0,
    top: int = 10,
) -> None:
    """Chooses `rows` queries of an evaluation (`choose_rows`), finds their `top` nearest, writes the sheet and JSON.

    Only the chosen queries are searched for. With a smaller gallery the rows are as long as it.

    Raises:
      InputError: as `choose_rows` and `write_ranked_sheet`.
    """
    precision = metrics.average_precision(evaluation.ranking)
    chosen = choose_rows(precision, rows, order, seed)
    shown = query.select(chosen)
    index, distance = ranking.nearest(
        evaluation.query[chosen],
        evaluation.gallery,
        min(top, len(gallery)),
        query_identity=shown.identity,
        query_camera=shown.camera,
        gallery_identity=gallery.identity,
        gallery_camera=gallery.camera,
    )
    write_ranked_sheet(
        path,
        shown,
        gallery,
        index,
        distance,
        rows=range(len(chosen)),
        top=index.shape[1],
        average_precision=precision[chosen],
    )


# The panels of the training curves: title, unit, logarithmic, and the records' keys with what the legend says.
PANELS = (
    ("Loss", "", False, {"loss": "total", "cross_entropy": "cross-entropy", "triplet": "triplet"}),
    ("Training accuracy", "%", False, {"accuracy": "accuracy"}),
    ("Validation", "%", False, {"val_rank1": "rank-1", "val_mAP": "mAP"}),
    ("Learning rate", "", True, {"learning_rate": "learning rate"}),
)
# Okabe and Ito's blue, vermilion and bluish green: told apart in the common colour blindnesses.
LINES = ("#0072b2", "#d55e00", "#009e73")


def training_curves(path: str | os.PathLike, records: list[dict]) -> None:
    """Draws a run's metric records as small multiples over epochs (over steps if a record has no epoch).

    Args:
      path: of the PNG.
      records: a dict each, with 'step' and/or 'epoch' and any of 'loss', 'cross_entropy', 'triplet',
        'accuracy', 'learning_rate', 'val_rank1', 'val_mAP' (fractions; drawn in percent). A record may lack
        keys or hold None; a panel without values is left out; other keys are not drawn.

    Raises:
      InputError: matplotlib is missing, the path does not end in .png, or there is nothing to draw.
    """
    path = _png_path(path)
    panels = [
        (*panel[:3], {key: legend for key, legend in panel[3].items() if any(r.get(key) is not None for r in records)})
        for panel in PANELS
    ]
    panels = [panel for panel in panels if panel[3]]
    if not panels:
        known = ", ".join(key for panel in PANELS for key in panel[3])
        raise InputError(f"none of {len(records)} records has a value to draw; known are {known}")
    drawn = [r for r in records if any(r.get(key) is not None for panel in panels for key in panel[3])]
    axis = "epoch" if all("epoch" in r for r in drawn) else "step"
    if not all(axis in r for r in drawn):
        raise InputError("records lack both 'step' and 'epoch' for some values; give one of them in every record")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise InputError("curves need matplotlib, which is missing; pip install 'reid_jax[plot]'") from error

    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(5.4 * columns, 3.2 * lines), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for unused in axes[len(panels) :]:
        unused.remove()
    left, right = (limit(r[axis] for r in drawn) for limit in (min, max))
    for plot, (title, unit, logarithmic, keys) in zip(axes, panels, strict=False):
        smallest = np.inf
        for color, (key, legend) in zip(LINES, keys.items(), strict=False):
            points = sorted((r[axis], r[key]) for r in drawn if r.get(key) is not None)
            x, y = np.array(points, float).T
            y = 100 * y if unit == "%" else y
            smallest = min(smallest, y.min())
            # Single points, and the few of a validation, must be seen.
            marker = "o" if len(points) <= 40 else None
            plot.plot(x, y, color=color, linewidth=1.8, marker=marker, markersize=3.5, label=legend)
        label = f"{title} ({unit})" if unit else title
        plot.set_title(label, loc="left", fontsize=11, fontweight="bold", color="#222222")
        plot.set_xlabel(axis, fontsize=9, color="#555555")
        if left < right:
            plot.set_xlim(left, right + 0.01 * (right - left))
        plot.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if logarithmic and smallest > 0:
            plot.set_yscale("log")
        elif smallest >= 0:
            plot.set_ylim(bottom=0)
        plot.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        plot.set_axisbelow(True)
        plot.tick_params(which="both", labelsize=9, colors="#555555", length=0)
        for side in ("top", "right", "left"):
            plot.spines[side].set_visible(False)
        plot.spines["bottom"].set_color("#bbbbbb")
        if len(keys) > 1:
            plot.legend(frameon=False, fontsize=9, labelcolor="#222222")
    _write(path, lambda name: figure.savefig(name, format="png"))


def _check_results(
    query, gallery, index, distance, rows, top, average_precision
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    index, distance, rows = np.asarray(index), np.asarray(distance), np.asarray(rows, dtype=np.int64)
    if index.ndim != 2 or len(index) != len(query) or index.shape != distance.shape:
        raise InputError(
            f"index has shape {list(index.shape)} and distance {list(distance.shape)} for {len(query)} queries; "
            "give [queries, k] for both"
        )
    if average_precision is not None and len(average_precision) != len(query):
        raise InputError(
            f"average_precision holds {len(average_precision)} values for {len(query)} queries; give one for each"
        )
    if not 1 <= top <= index.shape[1]:
        raise InputError(f"top is {top}, but index holds {index.shape[1]} results a query; ask for 1 to as many")
    if not len(rows):
        raise InputError("a sheet without rows was asked for; name at least one query")
    if rows.min() < 0 or rows.max() >= len(query):
        raise InputError(
            f"rows reach from {rows.min()} to {rows.max()}, but there are {len(query)} queries, counted from 0"
        )
    if index.max() >= len(gallery):
        raise InputError(
            f"index names gallery item {index.max()}, but the gallery holds {len(gallery)}; give the gallery "
            "that was ranked"
        )
    return index, distance, rows


def _correct(query, gallery, index: np.ndarray, i: int, top: int) -> list[bool]:
    """Whether each of the first results of query i is of its identity."""
    return [bool(item >= 0 and gallery.identity[item] == query.identity[i]) for item in index[i, :top]]


def _draw_header(draw: ImageDraw.ImageDraw, fonts: dict, width: int, rows: int, top: int) -> None:
    plural = "query" if rows == 1 else "queries"
    draw.text((MARGIN, 38), f"{rows} {plural}, nearest {top}", INK, fonts["title"], anchor="ls")
    x = width - MARGIN
    legend = (
        ("Euclidean distance below", None, None),
        ("another person", WRONG, False),
        ("same person", CORRECT, True),
    )
    for text, color, correct in legend:
        x -= round(draw.textlength(text, fonts["text"]))
        draw.text((x, 38), text, MUTED if color is None else INK, fonts["text"], anchor="ls")
        if color is not None:
            x -= 30
            _draw_frame(draw, (x, 20), (22, 26), color, dashed=not correct, width=3, dash=5)
            _draw_mark(draw, (x + 11, 33), correct, radius=6)
        x -= 22


def _draw_image(sheet, image: np.ndarray, place: tuple[int, int], size: tuple[int, int]) -> None:
    picture = Image.fromarray(np.asarray(image)).resize(size, Image.Resampling.BICUBIC)
    sheet.paste(picture, (place[0] + FRAME, place[1] + FRAME))


def _draw_frame(draw, place, size, color, *, dashed: bool, width: int = FRAME, dash: int = 14) -> None:
    """A frame drawn inside place and size; dashes start and end in full at the corners."""
    (left, top), (right, bottom) = place, (place[0] + size[0] - 1, place[1] + size[1] - 1)
    if not dashed:
        draw.rectangle((left, top, right, bottom), outline=color, width=width)
        return
    for start, stop, box in (
        (left, right, lambda a, b: [(a, top, b, top + width - 1), (a, bottom - width + 1, b, bottom)]),
        (top, bottom, lambda a, b: [(left, a, left + width - 1, b), (right - width + 1, a, right, b)]),
    ):
        # An odd number of equal parts: dash, space, ..., dash.
        parts = max(round((stop - start) / dash) // 2 * 2 + 1, 3)
        edges = np.linspace(start, stop, parts + 1).round().astype(int)
        for part in range(0, parts, 2):
            for rectangle in box(int(edges[part]), int(edges[part + 1])):
                draw.rectangle(rectangle, fill=color)


def _draw_mark(draw, center: tuple[int, int], correct: bool, radius: int = MARK) -> None:
    """A tick in a green disc or a cross in a red one, on a white edge that any image shows."""
    x, y = center
    edge = radius + 2
    draw.ellipse((x - edge, y - edge, x + edge, y + edge), fill=PAPER)
    color = CORRECT if correct else WRONG
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    r, width = radius / 2, max(radius // 3, 2)
    if correct:
        draw.line((x - r, y, x - r / 4, y + r * 0.8, x + r, y - r * 0.8), PAPER, width, joint="curve")
    else:
        r *= 0.8
        draw.line((x - r, y - r, x + r, y + r), PAPER, width)
        draw.line((x - r, y + r, x + r, y - r), PAPER, width)


def _png_path(path: str | os.PathLike) -> pathlib.Path:
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"pictures are written as PNG, but the path is {path}; let it end in .png")
    return path


def _write(path: pathlib.Path, write: Callable[[str], object]) -> None:
    """Calls `write` with a temporary name in the path's folder, then renames: no half-written file is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)  # mkstemp gives it to its owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
