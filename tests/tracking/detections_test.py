"""Detections of every format become the same rows; what is wrong in them is named with its place."""

import json

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.detections import read

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


def coco(**columns):
    """An object of COCO's without annotations, whose images have these values in turn."""
    images = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}


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
    with pytest.raises(InputError, match="--category is 5, which no detection of .*a.json has; these have 0, 1"):
        read(file, 5)
    file.write_text(json.dumps([{**each, "category_id": f"{each['category_id']}"} for each in ENTRIES]))
    assert_expected(read(file))
    assert_expected(read(file, 1))
    words = [*({**each, "category_id": "person"} for each in ENTRIES), entry(1, [9, 9, 9, 9], category="car")]
    file.write_text(json.dumps(words))
    assert_expected(read(file))
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": [{"id": 5, "name": "seal"}]}))
    assert len(read(file, 5)) == 0
    (tmp_path / "det.txt").write_text(MOT)
    with pytest.raises(InputError, match="only COCO's JSON and a CSV have categories"):
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
        ("frame,left,top,w,h,label\n1,1,1,1,1,person\n1,1,1,1,1\n", r"line 3 \(it has 5 fields, and category"),
        ("frame,left,top,w,h,label\n1,1,1,1,1,person\n1,1\n", r"1 of 2 lines .* line 3 \(it has 2 fields, and"),
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
        (coco(id=[1, 2], frame_id=[1, 1], video_id=[7, 8]), r"of the videos 7, 8 \(video_id\); give a file for each"),
        (coco(id=[1, 2, 3], frame_id=[1, 1, 2]), "has 2 images of the frame_id 1; give each its own"),
        (coco(id=["a", "a"], frame_id=[1, 2]), "has 2 images of the id a"),
        (coco(id=[1, 2], file_name=["x/1.jpg", "y/1.jpg"]), "of the folders x, y by file_name; give a file for each"),
        (coco(id=[1, 2], file_name=["1.jpg", "1.jpg"]), "has 2 images of the file_name 1.jpg"),
        (coco(id=[1, 2, 3, 4], file_name=["1.jpg", "2.jpg", "4.jpg", "5.jpg"]), "between 2.jpg and 4.jpg; give each"),
        ([entry(1, [1, 1, 1, 1], category=[1])], r"entry 0, counted from 0 \(category_id is \[1\]; it takes a number"),
        (
            coco(id=[1], frame_id=[1]) | {"annotations": [entry(1, [1, 1, 1, 1], category=[1])]},
            r"category_id is \[1\]; it takes a number",
        ),
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


def test_the_people_of_a_table_are_chosen(tmp_path):
    file = tmp_path / "a.csv"
    lines = ["2,1,2,3,4,0.5", "1,5,6,7,8,1", "1,9,9,9,9,1"]

    def write(head, *kinds):
        both = zip(lines, kinds, strict=True)
        file.write_text(f"frame,left,top,w,h,score,{head}\n" + "".join(f"{line},{kind}\n" for line, kind in both))

    write("Label", "person", "Person", "car")
    assert_expected(read(file))
    write("class,class_name", "0,person", "0,person", "2,car")
    assert_expected(read(file))
    assert len(read(file, 2)) == 1
    write("category_id", "1", "1.0", "3")
    assert_expected(read(file, 1))
    with pytest.raises(InputError, match="categories 1, 3; say the number of people with --category"):
        read(file)
    with pytest.raises(InputError, match="--category is 7, which no detection of .*a.csv has; these have 1, 3"):
        read(file, 7)
    write("class", "3", "3.0", "")
    assert len(read(file)) == 3
    write("label", "ID-1", "ID-2", "ID-3")  # no category, but who would know
    with pytest.raises(InputError, match="or, where these are none, give the column another name"):
        read(file)
    write("camera", "1", "2", "3")
    assert len(read(file)) == 3
    with pytest.raises(InputError, match="--category=1 is given, but .*a.csv has no column category"):
        read(file, 1)
