"""A sheet of queries beside their nearest gallery images, with the same as JSON and as CSV."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from reid_jax.errors import InputError
from reid_jax.files.csv_text import write_csv
from reid_jax.files.json_files import write_json
from reid_jax.retrieval import metrics
from reid_jax.visualize.drawing import (
    INK,
    MUTED,
    PAPER,
    RULE,
    font,
    path_beside,
    png_path,
    require_drawable,
    save_image,
)
from reid_jax.visualize.failures import one_line_failures
from reid_jax.visualize.ranked import RankedQuery, choose_rows, rank_queries

if TYPE_CHECKING:
    from reid_jax.data.images import Images
    from reid_jax.evaluate import Evaluation

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


@one_line_failures
def write_ranked_sheet(path: str | os.PathLike, queries: Sequence[RankedQuery]) -> None:
    """Writes `ranked_sheet` as PNG, and what it shows as PATH.json and PATH.csv beside it.

    The JSON holds {"rows": [{"query": name, "identity", "camera", "average_precision" (null without a match),
    "results": [{"rank", "name", "identity", "camera", "distance", "correct"}, ...]}, ...]}; the CSV has one line for
    each result, with its query's columns before it, names as in `csv_text`.

    Raises:
      InputError: no queries, the path does not end in .png, or it cannot be written.
    """
    path = png_path(path)
    if not queries:
        raise InputError("a sheet without rows shows nothing; name at least one query")
    sheet, records = ranked_sheet(queries), [query.record() for query in queries]
    write_json(path_beside(path, ".json"), {"rows": records})
    write_csv(path_beside(path, ".csv"), _csv_rows(records))
    save_image(path, sheet)


@one_line_failures
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
    if len(chosen):  # before all that is shown is decoded
        first = query.select(evaluation.query.row[chosen[:1]]).image[0]
        _size_of_sheet(len(chosen), min(top, len(evaluation.gallery.identity)), _size_of_image(first))
    write_ranked_sheet(path, rank_queries(query, gallery, evaluation, chosen, top))
    return len(chosen)


def _csv_rows(records: list[dict[str, Any]]) -> list[Sequence[Any]]:
    of_result = ("rank", "name", "identity", "camera", "distance", "correct")
    rows = [("query", "query_identity", "query_camera", "average_precision", *of_result)]
    for record in records:
        first = [record[key] for key in ("query", "identity", "camera", "average_precision")]
        for result in record["results"]:
            rows.append([*first, *(int(result[key]) if key == "correct" else result[key] for key in of_result)])
    return rows


def ranked_sheet(queries: Sequence[RankedQuery]) -> Image.Image:
    """Draws queries, each with its nearest gallery images in order of distance, as an RGB image on white.

    A result of the query's identity has a solid green frame and a tick, any other a dashed red frame and a
    cross. Under an image stands its distance; under a query the rank of the first correct result and the average
    precision.
    """
    top = max([1, *(len(query.results) for query in queries)])
    size = _size_of_image(queries[0].image)
    cell = (size[0] + 2 * FRAME, size[1] + 2 * FRAME)
    first_result = MARGIN + cell[0] + QUERY_GAP
    row_height = cell[1] + CAPTION + ROW_GAP
    sheet_width, sheet_height = _size_of_sheet(len(queries), top, size)
    sheet = Image.new("RGB", (sheet_width, sheet_height), PAPER)
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


def _size_of_image(image: np.ndarray) -> tuple[int, int]:
    """(width, height) of an image on the sheet."""
    height, width = image.shape[:2]
    return round(width * IMAGE_HEIGHT / height), IMAGE_HEIGHT


def _size_of_sheet(rows: int, top: int, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a sheet of images of `size`; raises InputError where that is too large to draw."""
    cell = (size[0] + 2 * FRAME, size[1] + 2 * FRAME)
    width = max(MARGIN + cell[0] + QUERY_GAP + top * (cell[0] + GAP) - GAP + MARGIN, 760)
    height = HEADER + rows * (cell[1] + CAPTION + ROW_GAP)
    require_drawable(width, height, f"a sheet of {rows:,} queries (--rows) and their {top:,} nearest (--top)")
    return width, height


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
