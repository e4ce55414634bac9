"""MSMT17: its two versions, its lists, and what becomes of the validation list."""

import zipfile

import numpy as np
import pytest
from made_sets import jpeg

from reid_jax.data.builders import msmt17
from reid_jax.data.builders.source import drop_junk
from reid_jax.data.datasets import find_source
from reid_jax.data.split import open_splits
from reid_jax.errors import InputError

LISTS = {
    "list_train.txt": "0000/0000_001_12_0303morning_0008_1.jpg 0\n0001/0001_000_03_0303noon_0008_0_ex.jpg 1\n",
    "list_val.txt": "0000/0000_000_01_0303morning_0008_0.jpg 0\n",
    "list_query.txt": "0000/0000_000_02_0303morning_0015_0.jpg 0\n",
    # A parent folder that looks like a name, a space in a path, Windows line ends and blank lines.
    "list_gallery.txt": "\r\n9_9_9_x/0000_001_05_0303 morning_0015_0.jpg 0\r\n  \r\n"
    "0001/0001_000_15_0303noon_0_1.jpg 1\r\n",
}


def write_set(root, version=1):
    folders = {1: ("train", "test"), 2: ("mask_train_v2", "mask_test_v2")}[version]
    for number, (name, text) in enumerate(LISTS.items()):
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
        for line in text.split("\n"):
            if line.strip():
                path = root / folders[number // 2] / line.strip().rpartition(" ")[0]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(jpeg(20 * number))
    return root


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("below", [".", "{0}", "msmt17/{0}", "MSMT17/{0}", "{0}/{0}", "msmt17"])
def test_found_under_its_usual_names(tmp_path, below, version):
    root = write_set(tmp_path / below.format(f"MSMT17_V{version}"), version)
    source = find_source("msmt17", tmp_path)
    assert source.name == f"msmt17:version={version},val=train"
    assert root.samefile(source.location)
    assert len(source.files("train")) == 3


def test_labels_come_from_list_and_file_name(tmp_path):
    write_set(tmp_path / "MSMT17_V2", 2)
    source = find_source("msmt17", tmp_path)
    gallery = source.files("gallery")
    assert [file.name for file in gallery] == [
        "mask_test_v2/0001/0001_000_15_0303noon_0_1.jpg",
        "mask_test_v2/9_9_9_x/0000_001_05_0303 morning_0015_0.jpg",
    ]
    assert [(file.identity, file.camera, file.tracklet) for file in gallery] == [(1, 15, -1), (0, 5, -1)]
    assert source.test_numbered_apart
    assert source.distractor is None


def test_val_joins_training_or_is_left_out_and_the_name_says_so(tmp_path):
    write_set(tmp_path / "MSMT17_V1")
    joined, dropped = find_source("msmt17:val=train", tmp_path), find_source("msmt17:val=drop", tmp_path)
    assert [file.camera for file in joined.files("train")] == [1, 12, 3]
    assert [file.camera for file in dropped.files("train")] == [12, 3]
    assert (joined.name, dropped.name) == ("msmt17:version=1,val=train", "msmt17:version=1,val=drop")
    assert (joined.expected("train").images, dropped.expected("train").images) == (32621, 30248)
    assert find_source(dropped.name, tmp_path).name == dropped.name


def test_both_versions_have_to_be_told_apart(tmp_path):
    write_set(tmp_path / "MSMT17_V1")
    write_set(tmp_path / "MSMT17_V2", 2)
    with pytest.raises(InputError, match=r"both versions .*version=1.*version=2.*not interchangeable"):
        find_source("msmt17", tmp_path)
    for version in (1, 2):
        source = find_source(f"msmt17:version={version}", tmp_path)
        assert source.name == f"msmt17:version={version},val=train"
        assert source.location.endswith(f"MSMT17_V{version}")


def test_the_other_version_is_named_where_one_is_missing(tmp_path):
    write_set(tmp_path / "MSMT17_V2", 2)
    with pytest.raises(InputError, match=r"MSMT17_V1 not found; .*MSMT17_V2 is MSMT17_V2, msmt17:version=2; ask"):
        find_source("msmt17:version=1", tmp_path)


def test_a_missing_set_tells_every_place(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()  # too common to be MSMT17
    with pytest.raises(
        InputError, match=r"MSMT17_V1 or MSMT17_V2 not found; .*msmt17/MSMT17_V1.*V2\.zip.*ask"
    ) as caught:
        find_source("msmt17", tmp_path)
    assert "\n" not in str(caught.value)


def test_zip_gives_what_the_folder_gives(tmp_path):
    root = write_set(tmp_path / "a" / "MSMT17_V2", 2)
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "MSMT17_V2.zip", "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent))
        archive.writestr("__MACOSX/MSMT17_V2/mask_test_v2/._0000", b"x")
    folder, zipped = find_source("msmt17", tmp_path / "a"), find_source("msmt17", tmp_path / "b")
    for split in folder.splits:
        one, other = folder.files(split), zipped.files(split)
        assert [(file.name, file.identity, file.camera) for file in one] == [
            (file.name, file.identity, file.camera) for file in other
        ]
        with folder.reader() as read, zipped.reader() as read_zip:
            assert [read(file.name) for file in one] == [read_zip(file.name) for file in one]


def test_a_broken_zip_is_said_to_be_one(tmp_path):
    (tmp_path / "MSMT17_V1.zip").write_bytes(b"<html>")
    with pytest.raises(InputError, match="cannot be read as a zip"):
        find_source("msmt17", tmp_path)


def test_a_list_that_names_missing_images(tmp_path):
    root = write_set(tmp_path / "MSMT17_V1")
    for file in sorted((root / "train").rglob("*.jpg"))[:2]:
        file.unlink()
    with pytest.raises(InputError, match=r"2 of 3 images that .*_train.txt.*_val.txt.*0000_000_01.*same download"):
        find_source("msmt17", tmp_path).files("train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000/0000_000_01_0303morning_0008_0.jpg", r"line 3 is"),
        ("0000/0000_000_01_0303morning_0008_0.jpg 1x", r"line 3 is"),
        ("0000/0000_000_01_0303morning_0008_0.jpg -1", r"line 3 is"),
        ("0000/0000.jpg 0", r"line 3 is"),
        ("0000/0000_001_12_0303morning_0008_1.jpg 0", r"1 image\(s\) more than once: .*0000_001_12"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    root = write_set(tmp_path / "MSMT17_V1")
    with (root / "list_train.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=message):
        find_source("msmt17", tmp_path).files("train")


def test_missing_empty_and_binary_lists(tmp_path):
    root = write_set(tmp_path / "MSMT17_V1")
    source = find_source("msmt17", tmp_path)
    (root / "list_query.txt").write_bytes(b"\n\r\n")
    with pytest.raises(InputError, match=r"list_query.txt is empty; take the lists"):
        source.files("query")
    (root / "list_query.txt").write_bytes(b"0000/\xff.jpg 0\n")
    with pytest.raises(InputError, match=r"list_query.txt is not UTF-8"):
        source.files("query")
    (root / "list_val.txt").unlink()
    with pytest.raises(InputError, match=r"list_val.txt is missing; .*val=drop"):
        source.files("train")
    assert len(find_source("msmt17:val=drop", tmp_path).files("train")) == 2


def test_lists_with_windows_separators_mean_the_same(tmp_path):
    first, second = (write_set(tmp_path / name / "MSMT17_V1") for name in "ab")
    for name in LISTS:
        (second / name).write_bytes((second / name).read_bytes().replace(b"/", b"\\"))
    sources = [find_source("msmt17", root.parent) for root in (first, second)]
    for split in ("train", "query", "gallery"):
        one, other = ([(f.name, f.identity, f.camera) for f in source.files(split)] for source in sources)
        assert one == other


def test_a_doubtful_version_is_not_passed_over_for_the_other_one(tmp_path, capsys):
    for name in ("msmt17-v1", "old/msmt17-v1"):
        write_set(tmp_path / name)
    write_set(tmp_path / "MSMT17_V2", 2)
    (tmp_path / "old" / "msmt17-v1" / "list_val.txt").write_text("")
    for name in ("msmt17", "msmt17:version=1"):
        with pytest.raises(InputError, match="MSMT17_V1 is there 2 times with different files"):
            find_source(name, tmp_path)
    assert find_source("msmt17:version=2", tmp_path).location == str(tmp_path / "MSMT17_V2")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["msmt17:version=3", "msmt17:val=maybe", "msmt17:year=1"])
def test_bad_options(tmp_path, name):
    with pytest.raises(InputError, match=name):
        find_source(name, tmp_path)


def test_read_from_records(tmp_path):
    write_set(tmp_path / "MSMT17_V1")
    train, gallery = open_splits("msmt17", ["train", "gallery"], tmp_path, (16, 8))
    assert train.identity.tolist() == [0, 0, 1]
    assert gallery.camera.tolist() == [15, 5]
    assert np.abs(gallery.load().image[:, 8, 4].astype(int) - [60, 90, 20]).max() < 8
    assert [file.name for file in drop_junk(msmt17.find("msmt17", tmp_path).files("train"))] == train.name.tolist()
