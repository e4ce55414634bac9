"""Market-1501: where it is found, what its names say, its distractors and its hand-drawn boxes."""

import pathlib
import subprocess
import sys
import zipfile

import pytest
from made_sets import MARKET, jpeg, write_set
from places import ROOT

from reid_jax.data import split
from reid_jax.data.builders import market1501
from reid_jax.errors import InputError


def names(source, part):
    return [file.name for file in source.files(part)]


@pytest.mark.parametrize("below", [".", *market1501.FOLDERS])
def test_found_under_its_usual_names(tmp_path, below):
    root = write_set(tmp_path / below)
    assert pathlib.Path(market1501.find("market1501", tmp_path).location).resolve() == root.resolve()


@pytest.mark.parametrize("place", market1501.ARCHIVES)
def test_the_zip_holds_the_same_files_as_the_folder(tmp_path, place):
    root = write_set(tmp_path / "a" / "Market-1501-v15.09.15")
    archive_path = tmp_path / "b" / place
    archive_path.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive_path, "w") as archive:
        for file in sorted(root.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(root.parent))
        archive.writestr("__MACOSX/Market-1501-v15.09.15/bounding_box_train/._0002_c1s1_000451_03.jpg", b"x")
    for data_dir in (tmp_path / "b", archive_path):
        for part in ("train", "query", "gallery"):
            one = split.load_split("market1501", part, tmp_path / "a", (128, 64))
            other = split.load_split("market1501", part, data_dir, (128, 64))
            assert one.name.tolist() == other.name.tolist()
            assert (one.image == other.image).all()


def test_labels_come_from_the_name_alone_not_from_the_path(tmp_path):
    root = write_set(tmp_path / "0999_c5s1_000001_01" / "Market-1501-v15.09.15")
    (root / "query" / "Thumbs.db").write_bytes(b"not an image")
    source = market1501.find("market1501", root.parent)
    assert [(file.identity, file.camera) for file in source.files("query")] == [(3, 1), (3, 6)]
    assert [(file.identity, file.camera) for file in source.files("gallery")] == [(-1, 1), (0, 4), (3, 1), (3, 2)]
    assert names(source, "train") == sorted(f"bounding_box_train/{name}" for name in MARKET["bounding_box_train"])


def test_parse_name():
    parse = market1501.Market1501.parse_name
    assert parse("-1_c6s2_000401_03.jpg") == (-1, 6)
    assert parse("1501_c12s2_000401_03.png") == (1501, 12)
    assert parse("x0002_c1s1_000451_03.jpg") is None
    assert parse("0001_c2_f0046182.jpg") is None


@pytest.mark.parametrize("place", market1501.DISTRACTOR_FOLDERS)
def test_distractors_join_the_gallery_where_they_are_named(tmp_path, place):
    root = write_set(tmp_path / "sets" / "Market-1501-v15.09.15")
    folder = root / place
    folder.mkdir()
    for number, name in enumerate(["0000_c3s1_000001_00.jpg", "0000_c1s2_000001_07.jpg", "strange.jpg"]):
        (folder / name).write_bytes(jpeg(40 * number))
    assert len(market1501.find("market1501", tmp_path / "sets").files("gallery")) == 4
    source = market1501.find("market1501:distractors", tmp_path / "sets")
    assert source.name == "market1501:distractors=true"
    added = source.files("gallery")[4:]
    assert [(file.name, file.identity, file.camera) for file in added] == [
        ("distractors_500k/0000_c1s2_000001_07.jpg", 0, 1),
        ("distractors_500k/0000_c3s1_000001_00.jpg", 0, 3),
        ("distractors_500k/strange.jpg", 0, -1),
    ]
    assert source.expected("gallery").images == 15913 + 500_000
    gallery = split.load_split("market1501:distractors", "gallery", tmp_path / "sets", (128, 64))
    assert gallery.name[-1] == "distractors_500k/strange.jpg"
    assert abs(int(gallery.image[-1, 0, 0, 0]) - 80) < 3
    assert len(split.load_split("market1501", "gallery", tmp_path / "sets", (128, 64))) == 3


def test_distractors_are_read_from_their_zip(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    with zipfile.ZipFile(tmp_path / "distractors_500k.zip", "w") as archive:
        archive.writestr("images/0000_c3s1_000001_00.jpg", jpeg(200))
    gallery = split.load_split("market1501:distractors", "gallery", tmp_path, (128, 64))
    assert gallery.name[-1] == "distractors_500k/images/0000_c3s1_000001_00.jpg"
    assert abs(int(gallery.image[-1, 0, 0, 0]) - 200) < 3


def test_missing_distractors_are_reported_with_every_place(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    with pytest.raises(InputError, match="500,000 distractors not found; looked at .*/images, .*leave ':distractors'"):
        market1501.find("market1501:distractors", tmp_path)
    (tmp_path / "Market-1501-v15.09.15" / "images").mkdir()
    with pytest.raises(InputError, match="images holds no image; unpack distractors_500k.zip"):
        market1501.find("market1501:distractors", tmp_path).files("gallery")


def test_multi_query_holds_the_boxes_of_the_queries_people_and_cameras(tmp_path):
    boxes = ["0003_c1s1_000451_00.jpg", "0003_c1s1_000500_00.jpg", "0003_c2s1_000001_00.jpg", "0002_c1s1_000451_00.jpg"]
    write_set(tmp_path, MARKET | {"gt_bbox": boxes})
    source = market1501.find("market1501", tmp_path)
    assert source.splits == ("train", "query", "gallery", "multi_query")
    assert names(source, "multi_query") == [f"gt_bbox/{name}" for name in boxes[:2]]


def test_a_missing_set_is_reported_with_every_place(tmp_path):
    (tmp_path / "query").mkdir()  # too common a name to be Market-1501 by it
    with pytest.raises(InputError, match=r"looked at .*market1501.*\.zip.*download") as caught:
        market1501.find("market1501", tmp_path)
    assert all(place in str(caught.value) for place in (*market1501.FOLDERS, *market1501.ARCHIVES))
    assert "\n" not in str(caught.value)


def test_missing_empty_and_strange_folders_are_named(tmp_path):
    root = write_set(tmp_path / "Market-1501-v15.09.15")
    source = market1501.find("market1501", tmp_path)
    for name in ("holiday.jpg", "0001_c2_f0046182.jpg"):
        (root / "query" / name).write_bytes(jpeg(1))
    with pytest.raises(
        InputError, match=r"2 image name\(s\) in .*query do not look .*: 0001_c2_f0046182.jpg, holiday.jpg;"
    ):
        source.files("query")
    for file in (root / "query").iterdir():
        file.unlink()
    (root / "query" / "Thumbs.db").write_bytes(b"")
    with pytest.raises(InputError, match=r"query holds no image"):
        source.files("query")
    (root / "query" / "Thumbs.db").unlink()
    (root / "query").rmdir()
    with pytest.raises(InputError, match=r"query is missing"):
        source.files("query")


def test_preparing_never_imports_tensorflow_nor_claims_a_device(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    script = (
        "import sys\n"
        "from reid_jax.data.split import load_split\n"
        f"assert len(load_split('market1501', 'train', {str(tmp_path)!r}, (160, 64))) == 3\n"
        "assert not any(name.split('.')[0] == 'tensorflow' for name in sys.modules)\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
