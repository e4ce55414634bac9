"""Any image set by a table."""

import unicodedata

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


@pytest.mark.parametrize("word", ["NA", "nan", "NaN", "None", "null", "<NA>"])
def test_a_programs_word_for_no_value_is_no_camera_and_nobody(tmp_path, word):
    rows = [("path", "pid", "cam", "track"), ("img/a.png", "7", word, word), ("img/ü.png", "7", "3", "")]
    source = find_source("csv:list/set.csv", write(tmp_path, rows))
    assert [(file.identity, file.camera, file.tracklet) for file in source.files("train")] == [(7, -1, -1), (7, 3, -1)]
    rows[1] = ("img/a.png", word, "3", "")
    with pytest.raises(InputError, match=f"line 2 has the identity '{word}', by which programs mean"):
        find_source("csv:list/set.csv", write(tmp_path, rows))


@pytest.mark.parametrize("word", ["camera", "camid", "Cam_ID", "camera_id", "cameraid", "cam"])
def test_a_camera_by_its_other_words(tmp_path, word):
    write(tmp_path, [("path", "pid", word), ("img/a.png", "1", "4")])
    source = find_source("csv:list/set.csv", tmp_path)
    assert [file.camera for file in source.files("train")] == [4]
    assert source.notes == (() if word == "camera" else (f"the camera is read from the column {word}",))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["camra"], "1 column(s) of the table are not used: camra (did you mean camera?)"),
        (["view"], "1 column(s) of the table are not used: view (did you mean camera?)"),
        (["note", "track_id"], "2 column(s) of the table are not used: note, track_id (did you mean tracklet?)"),
        (["camera", "view", "id"], "2 column(s) of the table are not used: view, id"),
        ([f"x{n}" for n in range(7)], "7 column(s) of the table are not used: x0, x1, x2, x3, x4 and 2 more"),
        (
            ["set", "", "fold"],
            "2 column(s) of the table are not used: set (did you mean split?), fold (did you mean split?)",
        ),
        (["split", "subset"], "1 column(s) of the table are not used: subset"),
    ],
)
def test_columns_that_are_not_used_are_named_with_the_nearest_known_one(tmp_path, columns, message):
    row = ("img/a.png", "1", *("train" if name == "split" else "7" for name in columns))
    write(tmp_path, [("path", "pid", *columns), row])
    assert find_source("csv:list/set.csv", tmp_path).notes == (message,)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("subset", ["1", "2"]),
        ("Partition", ["", ""]),
        ("data_split", ["a", "b"]),
        ("set", ["train", "test"]),
        ("usage", ["training", "Query"]),
        ("what", ["gallery", "gallery"]),
    ],
)
def test_a_column_that_may_be_the_split_is_an_error(tmp_path, column, values):
    rows = [("path", "pid", column), ("img/a.png", "1", values[0]), ("img/b 1.png", "2", values[1])]
    write(tmp_path, rows)
    with pytest.raises(InputError, match=f"has a column '{column}' and none called split, .*call it split, or"):
        find_source("csv:list/set.csv", tmp_path)
    write(tmp_path, [(*rows[0], "split"), *((*row, "train") for row in rows[1:])])
    assert len(find_source("csv:list/set.csv", tmp_path).files("train")) == 2


def spelt(form, text):
    return unicodedata.normalize(form, text)


@pytest.mark.parametrize(
    ("listed", "on_disk"),
    [
        ("img\\a.png", "img/a.png"),
        (".\\img\\..\\img\\a.png", "img/../img/a.png"),
        ("./img//a.png", "img/a.png"),
        (spelt("NFC", "img/ü.png"), spelt("NFD", "img/ü.png")),
        (spelt("NFD", "é/ü.png"), spelt("NFC", "é/") + spelt("NFD", "ü.png")),
        (spelt("NFD", "é\\ü.png"), spelt("NFC", "é/ü.png")),
        ("a\\b.png", "a\\b.png"),
    ],
)
def test_a_file_is_found_by_a_spelling_that_looks_equal(tmp_path, listed, on_disk):
    path = tmp_path / on_disk
    (tmp_path / "img").mkdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    (tmp_path / "set.csv").write_text(f"path,pid\n{listed},1\n")
    source = find_source("csv:set.csv", tmp_path)
    assert [file.name for file in source.files("train")] == [on_disk]
    with source.reader() as read:
        assert read(on_disk) == b"x"


@pytest.mark.parametrize("typed", [spelt("NFD", "größe/ü.csv"), "größe\\ü.csv", "./größe/ü.csv"])
def test_the_table_itself_is_found_by_such_a_spelling(tmp_path, typed):
    (tmp_path / "größe").mkdir()
    (tmp_path / "größe" / "a.png").write_bytes(b"x")
    (tmp_path / "größe" / "ü.csv").write_text("path,pid\na.png,1\n")
    for name in (f"csv:{typed}", f"csv:{tmp_path}/{typed}"):
        assert [file.name for file in find_source(name, tmp_path).files("train")] == ["a.png"]


def test_two_forms_of_one_name_are_told_apart_and_another_case_is_hinted(tmp_path):
    for form in ("NFC", "NFD"):
        (tmp_path / spelt(form, "ü.png")).write_bytes(form.encode())
    (tmp_path / "Img").mkdir()
    (tmp_path / "Img" / "A.PNG").write_bytes(b"x")
    table = tmp_path / "set.csv"
    table.write_text("path,pid\n" + "".join(f"{spelt(form, 'ü.png')},1\n" for form in ("NFC", "NFD")))
    source = find_source("csv:set.csv", tmp_path)
    with source.reader() as read:
        assert {read(file.name) for file in source.files("train")} == {b"NFC", b"NFD"}
    table.write_text("path,pid\nimg/a.png,1\nb.png,1\n")
    with pytest.raises(InputError, match=r"2 of 2 images .*: img/a\.png \(there is Img/A\.PNG\), b\.png; mend"):
        find_source("csv:set.csv", tmp_path)


@pytest.mark.parametrize("again", ["./img/a.png", "img//a.png", "img\\a.png", "img/../img/a.png", "{}/list/img/a.png"])
def test_an_image_is_listed_twice_however_its_path_is_spelt(tmp_path, again):
    write(tmp_path, [("path", "pid"), ("img/a.png", "1"), (again.format(tmp_path), "2")])
    with pytest.raises(InputError, match=r"line 3 lists '.*img/a\.png' for train once more, after line 2; remove"):
        find_source("csv:list/set.csv", tmp_path)


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


def test_what_a_table_leaves_unused_is_noted_for_whoever_opens_it(tmp_path, capsys):
    write(tmp_path)
    for split in ("train", "query"):
        open_splits("csv:list/set.csv", [split], tmp_path, (16, 8))
    message = f"note: csv:list/set.csv in {tmp_path}/list/set.csv: 1 column(s) of the table are not used: note\n"
    assert capsys.readouterr().err == message


HEADER = ROWS[0]
MISSING = [(f"x/{number}.png", "7", "1", "query", "") for number in range(7)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("path", "camera")], "lists no image"),
        ([("path", "camera"), ("img/a.png", "1")], r"no column identity \(or pid\); its header is path, camera"),
        (
            [("image", "pid"), ("img/a.png", "1")],
            "no column path; its header is image, pid; if .* call image path",
        ),
        ([("path", "person_id"), ("img/a.png", "1")], r"no column identity \(or pid\); .*call person_id identity; the"),
        ([("path", "pid", "cam", "camid"), ("img/a.png", "1", "1", "1")], "more than one column camera .also called"),
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
def test_bad_tables(tmp_path, rows, message):
    write(tmp_path, rows)
    with pytest.raises(InputError, match=message) as caught:
        find_source("csv:list/set.csv", tmp_path)
    assert "set.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(InputError, match="names no file"):
        find_source("csv:", tmp_path)
    with pytest.raises(InputError, match=r"table .*none.csv cannot be read \(No such file"):
        find_source("csv:none.csv", tmp_path)
    table = tmp_path / "set.csv"
    with pytest.raises(InputError, match="cannot be read .*null"):
        find_source("csv:a\0b.csv", tmp_path)
    for empty in (b"", b"\xef\xbb\xbf\r\n \r\n", b",,", b" ; ;\n;;\n", b'"",""\n'):
        table.write_bytes(empty)
        with pytest.raises(InputError, match="set.csv is empty"):
            find_source("csv:set.csv", tmp_path)
    table.write_bytes("path,pid\na.png,1\nü.png,2\n".encode("latin-1"))
    with pytest.raises(InputError, match="set.csv line 3 is not UTF-8"):
        find_source("csv:set.csv", tmp_path)
    table.write_bytes("path,pid\na.png,1\n".encode("utf-16"))
    with pytest.raises(InputError, match="set.csv line 1 is not UTF-8"):
        find_source("csv:set.csv", tmp_path)
