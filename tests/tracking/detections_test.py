"""Detections of every format become the same rows; what is wrong in them is named with its place."""

import json

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.detections import by_number, read

MOT = "2,-1,1,2,3,4,0.5\n1,-1,5,6,7,8,1\n"
EXPECTED = ([2, 1], [[1, 2, 3, 4], [5, 6, 7, 8]], [0.5, 1])


def assert_expected(rows):
    frame, box, confidence = EXPECTED
    np.testing.assert_array_equal(rows.frame, frame)
    np.testing.assert_allclose(rows.box, box)
    np.testing.assert_allclose(rows.confidence, confidence)
    assert (rows.identity == -1).all()


def entry(image, box, score=None, category=1):
    return {"image_id": image, "category_id": category, "bbox": box} | ({} if score is None else {"score": score})


ENTRIES = [entry(2, [1, 2, 3, 4], 0.5), entry(1, [5, 6, 7, 8])]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("det.txt", MOT),
        ("a.csv", "frame,left,top,width,height,confidence\n2,1,2,3,4,0.5\n1,5,6,7,8,1\n"),
        ("a.CSV", "\ufeffScore, Y1,X1 ,camera,x2,y2,Frame_ID\n.5,2,1,door,4,6,2\n\n1,6,5,door,12,14,1\n"),
        ("a.json", json.dumps(ENTRIES)),
        (
            "a.json",  # the order of names, 9 before 10; a dog is nobody
            json.dumps(
                {
                    "images": [{"id": 7, "file_name": "f10.jpg"}, {"id": 3, "file_name": "f9.jpg"}],
                    "annotations": [entry(7, [1, 2, 3, 4], 0.5), entry(3, [0, 0, 9, 9], 1, 18), entry(3, [5, 6, 7, 8])],
                    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
                }
            ),
        ),
        (
            "a.json",  # said by frame_id
            json.dumps(
                {
                    "images": [{"id": "b", "frame_id": 1}, {"id": "a", "frame_id": 2}],
                    "annotations": [entry("a", [1, 2, 3, 4], 0.5), entry("b", [5, 6, 7, 8])],
                }
            ),
        ),
    ],
)
def test_formats_are_read_alike(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert_expected(read(tmp_path / name))


def test_a_category_is_chosen(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps([*ENTRIES, entry(1, [9, 9, 9, 9], category=0)]))
    with pytest.raises(InputError, match="categories 0, 1; say which are people with --category"):
        read(file)
    assert_expected(read(file, 1))
    assert len(read(file, 5)) == 0
    (tmp_path / "det.txt").write_text(MOT)
    with pytest.raises(InputError, match="only COCO's JSON has categories"):
        read(tmp_path / "det.txt", 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("frame,left,top,width\n", "no column for height or bottom; it has frame, left, top, width"),
        ("frame,left,x1,top,w,h\n", "several columns for left: left, x1"),
        ("frame,left,top,w,h,right\n", "columns for width and for right"),
        ("frame,left,top,right,bottom\n1,5,5,5,9\n", r"line 2 \(the box is 0 wide and 4 high"),
        ("frame,left,top,w,h\n1,1,1,1,1\n1,1,1\n", r"1 of 2 lines .* line 3 \(it has 3 fields, and width"),
        ("frame,left,top,w,h\n1,1,1,1,nan\n", "height is 'nan', no finite number"),
        ("frame,left,top,w,h\n0,1,1,1,1\n", "the frame is 0"),
        ("frame,left,top,w,h\n" + "1,1,1,1,a\n" * 9, "9 of 9 lines .* and 4 more"),
    ],
)
def test_a_wrong_table_is_named(tmp_path, text, reason):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("text", "not COCO's"),
        ([1], "not COCO's"),
        ({"annotations": []}, "images is no list"),
        ({"images": [{"id": 1}], "annotations": []}, "neither a frame_id nor a file_name"),
        ({"images": [{"id": 1, "frame_id": 1}]}, "not COCO's"),
        ({"images": [{"id": 1, "frame_id": 1}], "annotations": [entry(2, [1, 1, 1, 1])]}, "none of the images has"),
        ([entry(1, [1, 1, 1])], "entry 0, counted from 0 .bbox is .*four numbers"),
        ([entry(1, [1, 1, -1, 1])], "the box is -1 wide"),
        ([entry("a", [1, 1, 1, 1])], "image_id is a; it takes the number of the frame"),
        ([entry(0, [1, 1, 1, 1])], "the frame is 0"),
        ([entry(1, [1, 1, 1, 1], "high")], "score is high"),
    ],
)
def test_wrong_json_is_named(tmp_path, value, reason):
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.txt"])
def test_a_missing_file_is_told(tmp_path, name):
    with pytest.raises(InputError, match="there is no file"):
        read(tmp_path / name)


def test_names_sort_by_their_last_number():
    names = ["b", "a10.jpg", "a9.jpg", "a010b.jpg", "1/2.jpg", "1/10.jpg"]
    assert sorted(names, key=by_number) == ["1/2.jpg", "1/10.jpg", "a9.jpg", "a10.jpg", "a010b.jpg", "b"]
