"""Ranked results: queries beside their nearest gallery images, as a sheet, as JSON and as CSV."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from reid_jax.errors import InputError
from reid_jax.files.csv_text import csv_text
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import replace_file
from reid_jax.retrieval import metrics
from reid_jax.visualize.drawing import INK, MUTED, PAPER, RULE, font, picture, png_path, save_image

if TYPE_CHECKING:
    from reid_jax.data.images import Images
    from reid_jax.evaluate import Evaluation

ORDERS = ("random", "worst", "best")

# A green and a red that stay apart in the common colour blindnesses (after Okabe and Ito, 2008); the marks and
# the dashes say the same without colour.
CORRECT = (0, 135, 95)
WRONG = (213, 44, 30)
QUERY = (0, 0, 0)

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


@dataclasses.dataclass(frozen=True)
class Result:
    """One gallery item in a query's list; `image` uint8 [h, w, 3], `rank` from 1, `camera` -1 where unknown."""

    rank: int
    name: str
    identity: int
    camera: int
    distance: float
    correct: bool
    image: np.ndarray


@dataclasses.dataclass(frozen=True)
class RankedQuery:
    """A query and its nearest gallery items, nearest first.

    image: uint8 [h, w, 3]. average_precision: NaN without a match. first_correct: the rank of the nearest match, which
    may lie beyond `results`; 0 without a match.
    """

    name: str
    identity: int
    camera: int
    average_precision: float
    first_correct: int
    image: np.ndarray
    results: tuple[Result, ...]

    @property
    def note(self) -> str:
        """Where the first correct result stands, in words."""
        return f"first at {self.first_correct}" if self.first_correct else "no match"

    def record(self) -> dict[str, Any]:
        """Everything but the images, as JSON takes it."""
        precision = None if np.isnan(self.average_precision) else self.average_precision
        results = [{key: value for key, value in vars(result).items() if key != "image"} for result in self.results]
        return {
            "query": self.name,
            "identity": self.identity,
            "camera": self.camera,
            "average_precision": precision,
            "results": results,
        }


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
    if order not in ORDERS:
        raise InputError(f"order of rows {order!r} is unknown; give 'random', 'worst' or 'best'")
    sign = 1 if order == "worst" else -1
    return found[np.argsort(sign * np.asarray(average_precision)[found], kind="stable")][:count]


def rank_queries(
    query: "Images", gallery: "Images", evaluation: "Evaluation", rows: Sequence[int], top: int = 10
) -> list[RankedQuery]:
    """Finds the `top` nearest of the queries `rows` (numbers of `evaluation.query`) and decodes what is shown.

    Only these images are decoded, each once. With a smaller gallery the lists are as long as it.

    Raises:
      InputError: no rows, a row outside of the evaluation, or `top` below 1.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows):
        raise InputError("a sheet without rows was asked for; name at least one query")
    if rows.min() < 0 or rows.max() >= len(evaluation.query.identity):
        raise InputError(
            f"rows reach from {rows.min()} to {rows.max()}, but there are {len(evaluation.query.identity)} queries, "
            "counted from 0"
        )
    if top < 1:
        raise InputError(f"{top} results a query were asked for; give at least 1")
    index, distance = evaluation.nearest(rows, min(top, len(evaluation.gallery.identity)))
    shown = np.unique(index[index >= 0])
    gallery_image = dict(zip(shown.tolist(), gallery.select(evaluation.gallery.row[shown]).image, strict=True))
    query_image = query.select(evaluation.query.row[rows]).image
    precision = metrics.average_precision(evaluation.ranking)
    ranks, offsets = metrics.match_ranks(evaluation.ranking), evaluation.ranking.offsets

    def results(line: int) -> tuple[Result, ...]:
        return tuple(
            Result(
                rank=column + 1,
                name=str(evaluation.gallery.name[item]),
                identity=int(evaluation.gallery.identity[item]),
                camera=int(evaluation.gallery.camera[item]),
                distance=float(distance[line, column]),
                correct=bool(evaluation.gallery.identity[item] == evaluation.query.identity[rows[line]]),
                image=gallery_image[item],
            )
            for column, item in enumerate(index[line].tolist())
            if item >= 0
        )

    return [
        RankedQuery(
            name=str(evaluation.query.name[row]),
            identity=int(evaluation.query.identity[row]),
            camera=int(evaluation.query.camera[row]),
            average_precision=float(precision[row]),
            first_correct=int(ranks[offsets[row]]) if offsets[row + 1] > offsets[row] else 0,
            image=query_image[line],
            results=results(line),
        )
        for line, row in enumerate(rows.tolist())
    ]


def ranked_sheet(queries: Sequence[RankedQuery]) -> Image.Image:
    """Draws queries, each with its nearest gallery images in order of distance, as an RGB image on white.

    A result of the query's identity has a solid green frame and a tick, any other a dashed red frame and a
    cross. Under an image stands its distance; under a query the rank of the first correct result and the average
    precision.
    """
    height, width = queries[0].image.shape[:2]
    top = max([1, *(len(query.results) for query in queries)])
    size = (round(width * IMAGE_HEIGHT / height), IMAGE_HEIGHT)
    cell = (size[0] + 2 * FRAME, size[1] + 2 * FRAME)
    first_result = MARGIN + cell[0] + QUERY_GAP
    row_height = cell[1] + CAPTION + ROW_GAP
    sheet_width = max(first_result + top * (cell[0] + GAP) - GAP + MARGIN, 760)
    sheet = Image.new("RGB", (sheet_width, HEADER + len(queries) * row_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    text_font = font(15)
    _draw_header(draw, sheet_width, len(queries), top)
    for column in range(top):
        center = first_result + column * (cell[0] + GAP) + cell[0] // 2
        draw.text((center, HEADER - 8), str(column + 1), MUTED, text_font, anchor="ms")
    draw.text((MARGIN + cell[0] // 2, HEADER - 8), "query", MUTED, text_font, anchor="ms")
    for line, query in enumerate(queries):
        y = HEADER + line * row_height
        if line:
            rule = y - ROW_GAP // 2
            draw.line((MARGIN, rule, sheet_width - MARGIN, rule), RULE, 1)
        _draw_image(sheet, query.image, (MARGIN, y), size)
        _draw_frame(draw, (MARGIN, y), cell, QUERY, dashed=False)
        center = MARGIN + cell[0] // 2
        notes = [query.note]
        if not np.isnan(query.average_precision):
            notes.append(f"AP {100 * query.average_precision:.1f} %")
        for number, note in enumerate(notes):
            draw.text((center, y + cell[1] + 18 + 18 * number), note, INK, text_font, anchor="ms")
        for column in range(top):
            place = (first_result + column * (cell[0] + GAP), y)
            center = place[0] + cell[0] // 2
            if column >= len(query.results):
                draw.line((center - 6, y + cell[1] // 2, center + 6, y + cell[1] // 2), MUTED, 2)
                continue
            result = query.results[column]
            _draw_image(sheet, result.image, place, size)
            _draw_frame(draw, place, cell, CORRECT if result.correct else WRONG, dashed=not result.correct)
            _draw_mark(draw, (place[0] + cell[0] - MARK - 8, y + cell[1] - MARK - 8), result.correct)
            draw.text((center, y + cell[1] + 18), f"{result.distance:.3f}", INK, text_font, anchor="ms")
    return sheet


@picture
def write_ranked_sheet(path: str | os.PathLike, queries: Sequence[RankedQuery]) -> None:
    """Writes `ranked_sheet` as PNG, and what it shows as JSON and as CSV beside it under the same stem.

    The JSON holds {"rows": [{"query": name, "identity", "camera", "average_precision" (null without a match),
    "results": [{"rank", "name", "identity", "camera", "distance", "correct"}, ...]}, ...]}; the CSV has one line for
    each result, with its query's columns before it, names as in `csv_text`.

    Raises:
      InputError: no queries, the path does not end in .png, or it cannot be written.
    """
    path = png_path(path)
    if not queries:
        raise InputError("a sheet without rows was asked for; name at least one query")
    records = [query.record() for query in queries]
    write_json(path.with_suffix(".json"), {"rows": records})
    text = _csv(records)
    replace_file(path.with_suffix(".csv"), lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))
    save_image(path, ranked_sheet(queries))


@picture
def draw_sheet(
    path: str | os.PathLike,
    query: "Images",
    gallery: "Images",
    evaluation: "Evaluation",
    *,
    rows: int,
    order: Literal["random", "worst", "best"] = "random",
    seed: int = 0,
    top: int = 10,
) -> int:
    """Chooses `rows` queries of an evaluation (`choose_rows`), finds their `top` nearest and writes the sheet.

    Returns the number of queries shown: fewer where fewer have a match.

    Raises:
      InputError: as `choose_rows`, `rank_queries` and `write_ranked_sheet`.
    """
    path = png_path(path)
    chosen = choose_rows(metrics.average_precision(evaluation.ranking), rows, order, seed)
    write_ranked_sheet(path, rank_queries(query, gallery, evaluation, chosen, top))
    return len(chosen)


def _csv(records: list[dict[str, Any]]) -> str:
    of_result = ("rank", "name", "identity", "camera", "distance", "correct")
    rows = [("query", "query_identity", "query_camera", "average_precision", *of_result)]
    for record in records:
        first = [record[key] for key in ("query", "identity", "camera", "average_precision")]
        for result in record["results"]:
            rows.append([*first, *(int(result[key]) if key == "correct" else result[key] for key in of_result)])
    return csv_text(rows)


def _draw_header(draw: ImageDraw.ImageDraw, width: int, rows: int, top: int) -> None:
    title_font, text_font = font(22), font(15)
    plural = "query" if rows == 1 else "queries"
    draw.text((MARGIN, 38), f"{rows} {plural}, nearest {top}", INK, title_font, anchor="ls")
    x = width - MARGIN
    legend = (
        ("distance below", None, None),
        ("another person", WRONG, False),
        ("same person", CORRECT, True),
    )
    for text, color, correct in legend:
        x -= round(draw.textlength(text, text_font))
        draw.text((x, 38), text, MUTED if color is None else INK, text_font, anchor="ls")
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
