"""Ranked sheets: frames tell right from wrong, rows stand in order, and the files hold what is shown."""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest
from made_evaluation import GALLERY_COLOR, QUERY_COLOR, Watched, small
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.retrieval import metrics
from reid_jax.visualize import ranked_sheet as sheet_module
from reid_jax.visualize.drawing import PAPER, path_beside
from reid_jax.visualize.ranked import choose_rows, rank_queries
from reid_jax.visualize.ranked_sheet import draw_sheet, ranked_sheet, write_ranked_sheet


@pytest.fixture(scope="module")
def evaluated():
    return small()


def _corner(row, column):
    """The frame's upper left pixel of a cell; column 0 is the query."""
    width, height = 77 + 2 * sheet_module.FRAME, sheet_module.IMAGE_HEIGHT + 2 * sheet_module.FRAME
    y = sheet_module.HEADER + row * (height + sheet_module.CAPTION + sheet_module.ROW_GAP)
    x = sheet_module.MARGIN
    if column:
        x += width + sheet_module.QUERY_GAP + (column - 1) * (width + sheet_module.GAP)
    return x, y, width, height


def test_frames_tell_right_from_wrong_with_and_without_colour(evaluated):
    query, gallery, evaluation = evaluated
    queries = rank_queries(query, gallery, evaluation, [1, 0], 4)
    queries[0] = dataclasses.replace(queries[0], results=queries[0].results[:3])  # as where items are removed
    sheet = ranked_sheet(queries)
    assert sheet.mode == "RGB"
    correct = {(0, 1), (1, 2), (1, 3)}  # (line of the sheet, rank)
    for line in range(2):
        for column in range(5):
            x, y, width, height = _corner(line, column)
            top_edge = [sheet.getpixel((x + i, y + 1)) for i in range(width)]
            center = sheet.getpixel((x + width // 2, y + height // 4))
            if (line, column) == (0, 4):
                assert set(top_edge) == {PAPER}
            elif column == 0:
                assert set(top_edge) == {sheet_module.QUERY}
                assert center == QUERY_COLOR
            elif (line, column) in correct:
                assert set(top_edge) == {sheet_module.CORRECT}
                assert center == GALLERY_COLOR
            else:
                assert set(top_edge) == {sheet_module.WRONG, PAPER}  # dashed
                for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
                    assert sheet.getpixel((x + corner[0], y + corner[1])) == sheet_module.WRONG


def test_the_sheet_grows_with_its_rows(evaluated):
    query, gallery, evaluation = evaluated
    one, two = (ranked_sheet(rank_queries(query, gallery, evaluation, rows, 2)) for rows in ([0], [0, 2]))
    assert two.width == one.width
    assert two.height - sheet_module.HEADER == 2 * (one.height - sheet_module.HEADER)


def test_only_what_is_shown_is_decoded_and_each_image_once(evaluated):
    query, gallery, evaluation = evaluated
    # The item's picture is another row of the split than the item's own number, as with tracklets.
    moved = dataclasses.replace(evaluation.gallery, row=np.array([3, 2, 1, 0]))
    shifted = dataclasses.replace(evaluation, gallery=moved)
    watched_query, watched_gallery = Watched(query), Watched(gallery)
    gallery.image[2] = 77  # what shows item 1
    queries = rank_queries(watched_query, watched_gallery, shifted, [1, 0], 2)
    gallery.image[2] = GALLERY_COLOR
    assert watched_query.selected == [[1, 0]]
    (selected,) = watched_gallery.selected
    assert sorted(selected) == sorted({3 - int(result.name[-5]) for one in queries for result in one.results})
    assert queries[0].results[0].name == "gallery/0006_é1.jpg"
    assert (queries[0].results[0].image == 77).all()


def test_files_hold_what_is_shown(evaluated, tmp_path):
    query, gallery, evaluation = evaluated
    path = tmp_path / "new" / "worst.png"
    queries = rank_queries(query, gallery, evaluation, [0, 2], 4)
    write_ranked_sheet(path, queries)
    assert sorted(os.listdir(path.parent)) == ["worst.png", "worst.png.csv", "worst.png.json"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(ranked_sheet(queries)))
    rows = json.loads(path_beside(path, ".json").read_text(encoding="utf-8"))["rows"]
    distance = np.linalg.norm(evaluation.gallery.embedding - evaluation.query.embedding[0], axis=1)
    order = [1, 0, 3, 2]
    assert rows[0] == {
        "query": "query/0005_é0.jpg",
        "identity": 5,
        "camera": 0,
        "average_precision": pytest.approx((1 / 2 + 2 / 3) / 2),
        "results": [
            {
                "rank": rank,
                "name": str(gallery.name[item]),
                "identity": int(gallery.identity[item]),
                "camera": int(gallery.camera[item]),
                "distance": pytest.approx(float(distance[item]), abs=1e-3),
                "correct": item in (0, 3),
            }
            for rank, item in enumerate(order, 1)
        ],
    }
    assert rows[1]["average_precision"] is None
    assert [result["correct"] for result in rows[1]["results"]] == [False] * 4
    assert [one.first_correct for one in queries] == [2, 0]
    with path_beside(path, ".csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 8
    assert list(lines[0]) == [
        "query",
        "query_identity",
        "query_camera",
        "average_precision",
        "rank",
        "name",
        "identity",
        "camera",
        "distance",
        "correct",
    ]
    for line, (row, result) in zip(lines, ((r, one) for r in rows for one in r["results"]), strict=True):
        assert line["query"] == row["query"]
        assert line["average_precision"] == ("" if row["average_precision"] is None else str(row["average_precision"]))
        assert (line["name"], int(line["rank"]), float(line["distance"])) == (
            result["name"],
            result["rank"],
            result["distance"],
        )
        assert line["correct"] == str(int(result["correct"]))


def test_a_failed_write_leaves_the_old_picture_and_nothing_half_written(evaluated, tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")

    def fail(self, name, **options):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(InputError, match="disk full"):
        write_ranked_sheet(path, rank_queries(*evaluated, [0], 1))
    assert path.read_bytes() == b"old"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    ("rows", "top", "message"),
    [
        ([0, 3], 2, "from 0 to 3, but there are 3 queries"),
        ([-1], 2, "from -1 to -1"),
        ([], 2, "without rows"),
        ([0], 0, "0 results a query"),
    ],
)
def test_bad_rows_are_named(evaluated, rows, top, message):
    with pytest.raises(InputError, match=message):
        rank_queries(*evaluated, rows, top)


def test_a_picture_must_be_a_png(evaluated, tmp_path):
    with pytest.raises(InputError, match=r"sheet\.jpg; let it end in \.png"):
        draw_sheet(tmp_path / "sheet.jpg", *evaluated, rows=1)
    with pytest.raises(InputError, match="without rows"):
        write_ranked_sheet(tmp_path / "sheet.png", [])
    assert not os.listdir(tmp_path)


def test_a_sheet_that_memory_does_not_hold_is_refused_before_its_images_are_decoded(evaluated, tmp_path, monkeypatch):
    query, gallery, evaluation = evaluated
    monkeypatch.setattr(sheet_module, "IMAGE_HEIGHT", 20_000)
    watched = Watched(gallery)
    with pytest.raises(
        InputError, match=r"2 queries \(--rows\) and their 4 nearest \(--top\) is a picture of .*; give fewer"
    ):
        draw_sheet(tmp_path / "sheet.png", query, watched, evaluation, rows=3)
    assert not watched.selected
    assert not os.listdir(tmp_path)


def test_choose_rows():
    average_precision = np.array([0.5, np.nan, 0.1, 0.9, 0.1, 0.7])
    assert choose_rows(average_precision, 3, "worst").tolist() == [2, 4, 0]
    assert choose_rows(average_precision, 2, "best").tolist() == [3, 5]
    assert choose_rows(average_precision, 99).tolist() == [0, 2, 3, 4, 5]
    drawn = [choose_rows(average_precision, 2, "random", seed).tolist() for seed in range(20)]
    assert drawn == [choose_rows(average_precision, 2, "random", seed).tolist() for seed in range(20)]
    assert len({tuple(rows) for rows in drawn}) > 3
    assert not any(1 in rows for rows in drawn)
    with pytest.raises(InputError, match="order of rows 'middle'"):
        choose_rows(average_precision, 2, "middle")
    with pytest.raises(InputError, match="sheet of 0 rows"):
        choose_rows(average_precision, 0)


def test_draw_sheet_shows_the_chosen_queries(evaluated, tmp_path):
    assert draw_sheet(tmp_path / "worst.png", *evaluated, rows=5, order="worst") == 2
    rows = json.loads((tmp_path / "worst.png.json").read_text(encoding="utf-8"))["rows"]
    assert [row["identity"] for row in rows] == [5, 6]
    assert [found["identity"] for found in rows[0]["results"]] == [6, 5, 5, 0]
    precision = metrics.average_precision(evaluated[2].ranking)
    assert [row["average_precision"] for row in rows] == precision[:2].tolist()
    assert rows[1]["results"][0]["correct"]
