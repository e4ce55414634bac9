import dataclasses
import json
import os
import sys
import types

import numpy as np
import pytest
from PIL import Image

from reid_jax import visualize
from reid_jax.data.split import Split
from reid_jax.errors import InputError
from reid_jax.retrieval.ranking import rank
from reid_jax.visualize import choose_rows, draw_sheet, ranked_sheet, training_curves, write_ranked_sheet


def _split(identity, folder, color):
    n = len(identity)
    return Split(
        image=np.full((n, 160, 64, 3), color, np.uint8),
        identity=np.array(identity, np.int32),
        camera=np.arange(n, dtype=np.int32) - 1,
        name=np.array([f"{folder}/{i:04d}_é{j}.jpg" for j, i in enumerate(identity)]),
    )


QUERY = _split([5, 6, 7], "query", (0, 0, 200))
GALLERY = _split([5, 6, 0, 5], "gallery", (200, 200, 0))
INDEX = np.array([[3, 1, 0, -1], [0, 1, 2, 3], [0, 2, 1, 3]], np.int32)
DISTANCE = np.array([[0.25, 0.5, 0.75, np.inf], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]], np.float32)


def _corner(row, column):
    """The frame's upper left pixel of a cell; column 0 is the query."""
    width, height = 77 + 2 * visualize.FRAME, visualize.IMAGE_HEIGHT + 2 * visualize.FRAME
    y = visualize.HEADER + row * (height + visualize.CAPTION + visualize.ROW_GAP)
    x = visualize.MARGIN
    if column:
        x += width + visualize.QUERY_GAP + (column - 1) * (width + visualize.GAP)
    return x, y, width, height


def test_frames_tell_right_from_wrong_with_and_without_colour():
    sheet = ranked_sheet(QUERY, GALLERY, INDEX, DISTANCE, rows=[1, 0], top=4)
    assert sheet.mode == "RGB"
    correct = {(0, 2), (1, 1), (1, 3)}  # (line of the sheet, rank)
    missing = {(1, 4)}
    for line in range(2):
        for column in range(5):
            x, y, width, height = _corner(line, column)
            top_edge = [sheet.getpixel((x + i, y + 1)) for i in range(width)]
            center = sheet.getpixel((x + width // 2, y + height // 4))
            if (line, column) in missing:
                assert set(top_edge) == {visualize.PAPER}
            elif column == 0:
                assert set(top_edge) == {visualize.QUERY}
                assert center == (0, 0, 200)
            elif (line, column) in correct:
                assert set(top_edge) == {visualize.CORRECT}
                assert center == (200, 200, 0)
            else:
                assert set(top_edge) == {visualize.WRONG, visualize.PAPER}  # dashed
                for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
                    assert sheet.getpixel((x + corner[0], y + corner[1])) == visualize.WRONG


def test_the_sheet_grows_with_its_rows_and_keeps_the_images_shape():
    one = ranked_sheet(QUERY, GALLERY, INDEX, DISTANCE, rows=[0], top=2)
    two = ranked_sheet(QUERY, GALLERY, INDEX, DISTANCE, rows=[0, 2], top=2)
    assert two.width == one.width
    assert two.height - visualize.HEADER == 2 * (one.height - visualize.HEADER)


def test_written_sheet_and_its_json(tmp_path):
    path = tmp_path / "new" / "worst.png"
    average_precision = np.array([1.0, 0.5, np.nan])
    write_ranked_sheet(path, QUERY, GALLERY, INDEX, DISTANCE, rows=[0, 2], top=4, average_precision=average_precision)
    assert sorted(os.listdir(path.parent)) == ["worst.json", "worst.png"]
    expected = ranked_sheet(QUERY, GALLERY, INDEX, DISTANCE, rows=[0, 2], top=4, average_precision=average_precision)
    with Image.open(path) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    rows = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
    assert rows[0] == {
        "query": "query/0005_é0.jpg",
        "identity": 5,
        "camera": -1,
        "average_precision": 1.0,
        "results": [
            {
                "rank": 1,
                "name": "gallery/0005_é3.jpg",
                "identity": 5,
                "camera": 2,
                "distance": 0.25,
                "correct": True,
            },
            {
                "rank": 2,
                "name": "gallery/0006_é1.jpg",
                "identity": 6,
                "camera": 0,
                "distance": 0.5,
                "correct": False,
            },
            {
                "rank": 3,
                "name": "gallery/0005_é0.jpg",
                "identity": 5,
                "camera": -1,
                "distance": 0.75,
                "correct": True,
            },
        ],
    }
    assert rows[1]["average_precision"] is None
    assert [result["correct"] for result in rows[1]["results"]] == [False] * 4


def test_a_failed_write_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")

    def fail(self, name, **options):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_ranked_sheet(path, QUERY, GALLERY, INDEX, DISTANCE, rows=[0], top=1)
    assert path.read_bytes() == b"old"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": INDEX[:2]}, r"index has shape \[2, 4\] .* for 3 queries"),
        ({"distance": DISTANCE[:, :2]}, r"distance \[3, 2\]"),
        ({"top": 5}, "top is 5, but index holds 4"),
        ({"rows": [0, 3]}, "from 0 to 3, but there are 3 queries"),
        ({"rows": []}, "without rows"),
        ({"index": INDEX + 1}, "gallery item 4, but the gallery holds 4"),
        ({"average_precision": np.ones(2)}, "average_precision holds 2 values for 3 queries"),
    ],
)
def test_bad_results_are_named(changes, message):
    arguments = {"index": INDEX, "distance": DISTANCE, "rows": [0], "top": 2, **changes}
    with pytest.raises(InputError, match=message):
        ranked_sheet(QUERY, GALLERY, **arguments)


def test_a_picture_must_be_a_png(tmp_path):
    with pytest.raises(InputError, match=r"sheet\.jpg; let it end in \.png"):
        write_ranked_sheet(tmp_path / "sheet.jpg", QUERY, GALLERY, INDEX, DISTANCE, rows=[0], top=1)


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


def test_draw_sheet_shows_the_chosen_queries_and_what_is_nearest(tmp_path):
    embedding = np.eye(4, dtype=np.float32)
    # Query 0 looks like gallery 1, another person; query 1 like gallery 1, its own; query 2 has no match.
    query_embedding = np.float32([[0.3, 1, 0.2, 0.1], [0, 1, 0, 0], [0, 0, 1, 0]])
    result = rank(
        query_embedding,
        embedding,
        query_identity=QUERY.identity,
        query_camera=QUERY.camera,
        gallery_identity=GALLERY.identity,
        gallery_camera=GALLERY.camera + 1,
    )
    evaluation = types.SimpleNamespace(query=query_embedding, gallery=embedding, ranking=result)
    gallery = dataclasses.replace(GALLERY, camera=GALLERY.camera + 1)
    draw_sheet(tmp_path / "worst.png", QUERY, gallery, evaluation, rows=5, order="worst")
    rows = json.loads((tmp_path / "worst.json").read_text(encoding="utf-8"))["rows"]
    assert [row["identity"] for row in rows] == [5, 6]
    assert [found["identity"] for found in rows[0]["results"]] == [6, 5, 0, 5]
    assert rows[0]["average_precision"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert rows[1]["results"][0]["correct"]
    assert rows[1]["results"][0]["distance"] == 0


def test_training_curves_draws_what_the_records_have(tmp_path):
    pytest.importorskip("matplotlib")
    records = [{"step": i, "epoch": i / 2, "loss": 7.0 / i, "learning_rate": 1e-3} for i in range(1, 30)]
    training_curves(tmp_path / "few.png", records)
    records += [{"step": 20, "epoch": 10.0, "val_mAP": 0.5, "accuracy": None}, {"step": 31}]
    training_curves(tmp_path / "more.png", records)
    sizes = []
    for name in ("few.png", "more.png"):
        with Image.open(tmp_path / name) as image:
            sizes.append(image.size)
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
    # Two panels stand side by side; the third begins a second line.
    assert sizes[1] == (sizes[0][0], 2 * sizes[0][1])
    assert sorted(os.listdir(tmp_path)) == ["few.png", "more.png"]


def test_training_curves_tells_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="none of 1 records has a value to draw"):
        training_curves(tmp_path / "a.png", [{"step": 1, "other": 2.0}])
    with pytest.raises(InputError, match="lack both 'step' and 'epoch'"):
        training_curves(tmp_path / "a.png", [{"loss": 2.0}])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'reid_jax\[plot\]'"):
        training_curves(tmp_path / "a.png", [{"step": 1, "loss": 2.0}])
    assert not os.listdir(tmp_path)
