"""Any image set by a regular expression over its paths."""

import io
import re
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from reid_jax.data.builders.pattern import literal_folder
from reid_jax.data.datasets import check_name, find_source
from reid_jax.data.split import load_split, open_splits
from reid_jax.errors import InputError

NAME = r"regex:own/(?P<split>[^/]+)/(?P<identity>\w+)/(?P<camera>[a-z]+)_\d+\.png"
PATHS = [
    "own/train/bob/yard_1.png",
    "own/train/zoë/door_1.png",
    "own/probe/alice/door_1.png",
    "own/test/alice/yard_1.png",
    "own/test/bob/yard_2.png",
]


def write(root, paths):
    for shade, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), (20 * shade, 90, 20)).save(root / path, "PNG")
    return root


def test_splits_identities_and_cameras_from_groups(tmp_path):
    source = find_source(NAME, write(tmp_path, PATHS))
    assert source.name == NAME
    assert source.key == "regex"
    assert source.splits == ("train", "query", "gallery")
    assert [(file.name, file.identity, file.camera) for file in source.files("train")] == [
        ("own/train/bob/yard_1.png", 1, 1),
        ("own/train/zoë/door_1.png", 2, 0),
    ]
    assert [(file.identity, file.camera) for file in source.files("gallery")] == [(0, 1), (1, 1)]
    assert source.expected("train") is None
    assert source.notes == ()


def test_read_from_records_with_a_tracklet_and_unknown_cameras(tmp_path):
    write(tmp_path, ["a/7/3_01.png", "a/7/3_00.png", "a/12/3_00.png"])
    split = load_split(r"regex:a/(?P<pid>\d+)/(?P<tracklet>\d+)_\d+\.png", "train", tmp_path, (16, 8))
    assert split.identity.tolist() == [7, 7, 12]
    assert split.camera.tolist() == [-1, -1, -1]
    assert split.tracklet.tolist() == [0, 0, 1]
    assert np.array_equal(split.image[:, 0, 0, 0], [20, 0, 40])
    with pytest.raises(InputError, match="has no split 'query'; it has train"):
        open_splits(r"regex:a/(?P<pid>\d+)/.*", ["query"], tmp_path, (16, 8))


def test_prepared_hidden_and_other_files_are_left_out_and_strangers_counted(tmp_path):
    write(tmp_path, ["1/a.png", "prepared/2/a.png", ".cache/3/a.png", "4/._a.png", "holiday.png"])
    (tmp_path / "1" / "a.txt").write_text("x")
    source = find_source(r"regex:(?P<identity>\d+)/.*", tmp_path)
    assert [file.name for file in source.files("train")] == ["1/a.png"]
    assert source.notes == (
        "left out 2 (hidden: .cache/, 4/._a.png), 1 (no image by the ending: 1/a.txt)",
        "1 of 2 images do not match and are left out, such as 'holiday.png'",
    )


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_that_look_equal_are_equal(tmp_path, forms):
    typed, on_disk = (unicodedata.normalize(form, "é/{}/zoë_1.png") for form in forms)
    write(tmp_path, [on_disk.format("train"), on_disk.format("query")])
    pattern = typed.format("(?P<split>[a-z]+)").replace("zo", "(?P<identity>zo").replace("_1", ")_1")
    source = find_source(f"regex:{pattern}", tmp_path)
    files = [file for split in ("train", "query") for file in source.files(split)]
    assert [(file.name, file.identity) for file in files] == [
        (on_disk.format(split), 0) for split in ("train", "query")
    ]


def test_the_whole_path_has_to_match(tmp_path):
    write(tmp_path, ["x_c5/0007_c1.png", "x_c5/0007_c1.png.bak.png"])
    source = find_source(r"regex:x_c5/(?P<identity>\d+)_c(?P<camera>\d)\.png", tmp_path)
    assert [(file.identity, file.camera) for file in source.files("train")] == [(7, 1)]


def test_images_inside_a_zip(tmp_path):
    write(tmp_path / "a", PATHS)
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in PATHS:
            archive.write(tmp_path / "a" / path, path)
        archive.writestr("own/.hidden/train/bob/yard_1.png", b"x")
    folder, zipped = find_source(NAME, tmp_path / "a"), find_source(NAME, tmp_path / "own.zip")
    for split in folder.splits:
        assert [(f.name, f.identity) for f in folder.files(split)] == [
            (f.name, f.identity) for f in zipped.files(split)
        ]
    with zipped.reader() as read:
        assert Image.open(io.BytesIO(read(PATHS[0]))).size == (8, 16)


def test_a_plus_and_a_colon_may_stand_in_a_pattern(tmp_path):
    name = r"regex:(?:a|b)+/(?P<identity>\d+)\.png"
    assert check_name(name) == [name]
    assert len(find_source(name, write(tmp_path, ["ab/1.png", "a/2.png"])).files("train")) == 2


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        (r"PRCC/rgb/(?P<split>train|test)/.*", "PRCC/rgb"),
        (r"a\.b/c\-d/\d+", "a.b/c-d"),
        (r"a/b/c?.png", "a/b"),
        (r"a/b/?c.png", "a"),
        (r"a/b/{1}c.png", "a"),
        (r"a/x|b/y", ""),
        (r"a/(x|y)", "a"),
        (r"a/[)|]x/(b)", "a"),
        (r"a/[(]x|b", ""),
        (r"a/[]|]x", "a"),
        (r"a/[^]|\]]x", "a"),
        (r"a/x\|b/(y)", "a/x|b"),
        (r"(?i)a/b", ""),
        (r"^a/b", ""),
        (r"a.b/c", ""),
        (r".*/a", ""),
        ("", ""),
    ],
)
def test_literal_folder(pattern, folder):
    assert literal_folder(pattern) == folder


@pytest.mark.parametrize(
    "pattern", [r"a/b/(?P<pid>\d)\.png", r"a/(?:b/)?(?P<pid>\d)\.png", r"ab?/(?P<pid>\d)\.png", r"a/b/?.*(?P<pid>\d).*"]
)
def test_the_walk_finds_all_that_a_walk_from_the_top_finds(tmp_path, pattern):
    paths = ["5.png", "a/2.png", "a/b/1.png", "a/b/c/4.png", "ab/3.png"]
    write(tmp_path, paths)
    expected = [path for path in paths if re.fullmatch(pattern, path)]
    assert [file.name for file in find_source(f"regex:{pattern}", tmp_path).files("train")] == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("regex", "has no pattern; write one, such as"),
        ("regex:", "has no pattern"),
        (r"regex:own/(?P<identity>\d+", "is no regular expression: missing \\)"),
        (r"regex:(?P<identity>a{99999999999})", "is no regular expression: the repetition number is too large"),
        (r"regex:(?au)(?P<identity>a)", "is no regular expression: .*incompatible"),
        (f"regex:{'(?:' * 5000}(?P<identity>a){')' * 5000}", "is no regular expression: it is nested too deeply"),
        (f"regex:{'(' * 5000}", "is no regular expression"),
        (f"regex:{'a' * 5000}(", "'regex:a+…a+.' is no regular expression: missing"),
        (r"regex:own/(\d+)/.*", r"has no group \(\?P<identity>...\)"),
        (r"regex:(?P<identity>.)(?P<pid>.).*", "has both groups identity and pid"),
        (r"regex:(?P<identity>.)(?P<cam>.).*", "group 'cam' is none of .*did you mean camera"),
        (r"regex:(?P<identity>.)(?P<x>.).*", "group 'x' is none of .*use \\(\\?:"),
        (r"regex:own/(?P<split>\w+)/(?P<pid>a)/.*", "none of the 5 image.* the first is 'own/probe/alice/door_1.png'"),
        (r"regex:own/(?P<split>t\w)(?P<pid>\w+)/.*", "'own/test/alice/yard_1.png': split 'te' is none of train"),
        (r"regex:(?:own)?(?P<pid>x*)/.*", "matches with an empty identity"),
        (r"regex:owm/(?P<pid>\w+)/.*", "folder .*owm does not exist"),
        (r"regex:empty/(?P<pid>\w+)/.*", "no image below .*empty"),
    ],
)
def test_bad_patterns(tmp_path, name, message):
    write(tmp_path, PATHS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        find_source(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
