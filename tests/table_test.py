"""Any image set by a table."""

import numpy as np
import pytest
from PIL import Image

from reid_jax.data.datasets import find_source
from reid_jax.data.split import open_splits
from reid_jax.errors import InputError

ROWS = [
    ("path", "pid", "camera", "split", "note"),
    ("img/b 1.png", "7", "2", "train", "first, of two"),
    ("img/a.png", "7", "1", "train", ""),
    ("img/ü.png", "9", "", "query", ""),
    ("../c.png", "9", "1", "test", ""),
]


def write(root, rows=None, encoding="utf-8", delimiter=","):
    """A table in `root`/list/set.csv with its images."""
    (root / "list" / "img").mkdir(parents=True, exist_ok=True)
    for shade, row in enumerate(ROWS[1:]):
        Image.new("RGB", (8, 16), (20 * shade, 90, 20)).save(root / "list" / row[0], "PNG")
    lines = [delimiter.join(f'"{field}"' if delimiter in field else field for field in row) for row in rows or ROWS]
    (root / "list" / "set.csv").write_bytes("\r\n".join(lines).encode(encoding))
    return root


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("absolute", [True, False])
def test_labels_of_a_table(tmp_path, encoding, delimiter, absolute):
    write(tmp_path, encoding=encoding, delimiter=delimiter)
    file = tmp_path / "list" / "set.csv"
    source = find_source(f"csv:{file}" if absolute else "csv:list/set.csv", "." if absolute else tmp_path)
    assert source.splits == ("train", "query", "gallery")
    assert source.location == str(file)
    assert [(file.name, file.identity, file.camera) for file in source.files("train")] == [
        ("img/a.png", 7, 1),
        ("img/b 1.png", 7, 2),
    ]
    assert [(file.identity, file.camera) for file in source.files("query")] == [(9, -1)]
    assert [file.name for file in source.files("gallery")] == ["../c.png"]
    assert source.expected("train") is None


def test_any_column_order_and_case_and_no_split(tmp_path):
    write(tmp_path, [("Identity", "x", "PATH"), ("alice", "", "img/a.png"), (" bob ", "", " img/ü.png ")])
    source = find_source("csv:list/set.csv", tmp_path)
    assert source.splits == ("train",)
    assert [(file.name, file.identity, file.camera) for file in source.files("train")] == [
        ("img/a.png", 0, -1),
        ("img/ü.png", 1, -1),
    ]


def test_tracklets_and_blank_rows(tmp_path):
    write(
        tmp_path, [("path", "identity", "tracklet"), ("img/b 1.png", "7", "5"), ("", "", ""), ("img/a.png", "7", "5")]
    )
    files = find_source("csv:list/set.csv", tmp_path).files("train")
    assert [(file.name, file.tracklet) for file in files] == [("img/a.png", 0), ("img/b 1.png", 0)]


def test_an_image_may_be_query_and_gallery(tmp_path):
    write(tmp_path, [("path", "pid", "split"), ("img/a.png", "1", "query"), ("img/a.png", "1", "gallery")])
    source = find_source("csv:list/set.csv", tmp_path)
    assert source.files("query") == source.files("gallery")


def test_read_from_records_and_joined_with_another_set(tmp_path):
    write(tmp_path)
    query, gallery = open_splits("csv:list/set.csv", ["query", "gallery"], tmp_path, (16, 8))
    assert (query.identity.tolist(), gallery.identity.tolist()) == ([9], [9])
    assert np.array_equal(query.load().image[0, 0, 0], [40, 90, 20])
    joined = open_splits(r"csv:list/set.csv+regex:(?P<pid>c)\.png", ["train"], tmp_path, (16, 8))[0]
    assert joined.identity.tolist() == [7, 7, 10]
    assert joined.name.tolist() == ["csv/img/a.png", "csv/img/b 1.png", "regex/c.png"]


HEADER = ROWS[0]
MISSING = [(f"x/{number}.png", "7", "1", "query", "") for number in range(7)]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("path", "camera")], "lists no image"),
        ([("path", "camera"), ("img/a.png", "1")], r"no column identity \(or pid\); its header is path, camera"),
        ([("image", "pid"), ("img/a.png", "1")], "no column path; its header is image, pid"),
        ([("img/a.png", "7"), ("img/b 1.png", "7")], "no column path and no column identity.*the first row"),
        ([("path", "pid", "identity"), ("img/a.png", "1", "1")], "more than one column identity"),
        ([("path", "path", "identity"), ("img/a.png", "1", "1")], "more than one column path"),
        ([HEADER, ROWS[1], ("img/a.png", "7", "1")], "line 3 has 3 field.s. where the header has 5"),
        ([("path", "pid"), ("a", "b", "1", "2")], "line 2 has 4 fields where the header has 2; quote"),
        ([HEADER, ("", "7", "1", "train", "")], "line 2 has no path"),
        ([HEADER, ("img/a.png", "", "1", "train", "")], "line 2 has no identity"),
        ([HEADER, ("img/a.png", "7", "1", "trian", "")], "line 2: split 'trian' is none of .*did you mean train"),
        ([HEADER, ("img/a.png", "7", "1", "", "")], "line 2: split '' is none of"),
        ([HEADER, ROWS[1], ROWS[2], ROWS[1]], "line 4 lists 'img/b 1.png' for train once more"),
        ([HEADER, *MISSING, ROWS[1]], "7 of 8 images that .*x/0.png.* and 2 more; mend"),
        ([HEADER, ('"img/a.png', "7", "1", "train", "")], "line 2 cannot be read as CSV"),
    ],
)
def test_bad_tables(tmp_path, rows, told):
    write(tmp_path, rows)
    with pytest.raises(InputError, match=told) as caught:
        find_source("csv:list/set.csv", tmp_path)
    assert "set.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(InputError, match="names no file"):
        find_source("csv:", tmp_path)
    with pytest.raises(InputError, match=r"table .*none.csv cannot be read \(No such file"):
        find_source("csv:none.csv", tmp_path)
    table = tmp_path / "set.csv"
    for empty in (b"", b"\xef\xbb\xbf\r\n \r\n"):
        table.write_bytes(empty)
        with pytest.raises(InputError, match="set.csv is empty"):
            find_source("csv:set.csv", tmp_path)
    table.write_bytes("path,pid\na.png,1\nü.png,2\n".encode("latin-1"))
    with pytest.raises(InputError, match="set.csv line 3 is not UTF-8"):
        find_source("csv:set.csv", tmp_path)
    table.write_bytes("path,pid\na.png,1\n".encode("utf-16"))
    with pytest.raises(InputError, match="set.csv line 1 is not UTF-8"):
        find_source("csv:set.csv", tmp_path)
