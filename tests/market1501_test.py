"""Market-1501's builder: finding the set, its listing, and records that never outlive their source."""

import io
import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from reid_jax.data.builders import market1501
from reid_jax.errors import InputError

FILES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000001_00.jpg", "0007_c3s3_000002_01.jpg"],
    "query": ["0003_c1s1_000451_00.jpg", "0003_c6s4_000002_00.jpg.jpg"],
    "bounding_box_test": [
        "0003_c2s1_000100_02.jpg",
        "-1_c1s1_000401_03.jpg",
        "0000_c4s1_000151_01.jpg",
        "0003_c1s1_000451_01.jpg",
    ],
}


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 128), (shade, 90, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_set(root: pathlib.Path) -> pathlib.Path:
    shade = 0
    for folder, names in FILES.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            shade += 20
            (root / folder / name).write_bytes(jpeg(shade))
    (root / "bounding_box_test" / "Thumbs.db").write_bytes(b"not an image")
    return root


def read(builder, split: str) -> list[dict]:
    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    return [source[index] for index in range(len(source))]


@pytest.mark.parametrize("below", [".", *market1501.FOLDERS])
def test_found_under_its_usual_names(tmp_path, below):
    root = write_set(tmp_path / below)
    assert market1501.find_source(tmp_path).path.resolve() == root.resolve()


def test_records_are_sorted_without_junk_and_keep_the_bytes(tmp_path):
    # A parent folder that looks like a file name must not be read as one.
    root = write_set(tmp_path / "0999_c5s1_000001_01" / "Market-1501-v15.09.15")
    builder = market1501.prepare(root.parent)
    gallery = read(builder, "gallery")
    assert [record["name"].decode() for record in gallery] == [
        "bounding_box_test/0000_c4s1_000151_01.jpg",
        "bounding_box_test/0003_c1s1_000451_01.jpg",
        "bounding_box_test/0003_c2s1_000100_02.jpg",
    ]
    assert [int(record["identity"]) for record in gallery] == [0, 3, 3]
    assert [int(record["camera"]) for record in gallery] == [4, 1, 2]
    assert gallery[0]["image"] == (root / "bounding_box_test" / "0000_c4s1_000151_01.jpg").read_bytes()
    assert [int(record["camera"]) for record in read(builder, "query")] == [1, 6]
    assert len(read(builder, "train")) == 3


def test_zip_gives_the_same_records_as_the_folder(tmp_path):
    root = write_set(tmp_path / "a" / "Market-1501-v15.09.15")
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "Market-1501-v15.09.15.zip", "w") as archive:
        for file in sorted(root.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(root.parent))
        archive.writestr("__MACOSX/Market-1501-v15.09.15/bounding_box_train/._0002_c1s1_000451_03.jpg", b"x")
    from_folder, from_zip = market1501.prepare(tmp_path / "a"), market1501.prepare(tmp_path / "b")
    for split in market1501.SPLIT_FOLDERS:
        for one, other in zip(read(from_folder, split), read(from_zip, split), strict=True):
            assert one["image"] == other["image"]
            assert one["name"] == other["name"]
    direct = market1501.prepare(tmp_path / "b" / "Market-1501-v15.09.15.zip")
    assert direct.data_path == from_zip.data_path


def test_a_changed_source_is_prepared_again(tmp_path):
    root = write_set(tmp_path / "Market-1501-v15.09.15")
    changed = root / "query" / "0003_c1s1_000451_00.jpg"
    before = read(market1501.prepare(tmp_path), "query")[0]["image"]
    replacement = before[:-1] + b"\x00"  # of the same size
    changed.write_bytes(replacement)
    os.utime(changed, ns=(1, 1))
    assert read(market1501.prepare(tmp_path), "query")[0]["image"] == replacement


def test_an_unchanged_source_is_not_prepared_again(tmp_path, monkeypatch):
    write_set(tmp_path / "Market-1501-v15.09.15")
    market1501.prepare(tmp_path)
    monkeypatch.setattr(market1501.Market1501, "download_and_prepare", None)
    assert len(read(market1501.prepare(tmp_path), "train")) == 3


def test_an_interrupted_preparation_leaves_nothing(tmp_path, monkeypatch):
    write_set(tmp_path / "Market-1501-v15.09.15")

    def interrupted(self, split):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(market1501.Market1501, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            market1501.prepare(tmp_path)
    assert list((tmp_path / "prepared").iterdir()) == []
    assert len(read(market1501.prepare(tmp_path), "train")) == 3


def test_records_with_a_file_taken_out_are_made_again(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    builder = market1501.prepare(tmp_path)
    pathlib.Path(builder.info.splits["query"].filepaths[0]).unlink()
    assert len(read(market1501.prepare(tmp_path), "query")) == 2


def test_missing_set_names_every_place(tmp_path):
    with pytest.raises(InputError, match=r"looked at .*market1501.*\.zip.*download") as caught:
        market1501.find_source(tmp_path)
    assert all(place in str(caught.value) for place in (*market1501.FOLDERS, *market1501.ARCHIVES))
    assert "\n" not in str(caught.value)


def test_a_folder_named_query_alone_is_not_market1501(tmp_path):
    (tmp_path / "query").mkdir()
    with pytest.raises(InputError, match="not found"):
        market1501.find_source(tmp_path)


def test_missing_and_empty_split_folders_are_named(tmp_path):
    root = write_set(tmp_path / "Market-1501-v15.09.15")
    for file in (root / "query").iterdir():
        file.unlink()
    (root / "query" / "Thumbs.db").write_bytes(b"")
    with pytest.raises(InputError, match=r"query holds no image"):
        market1501.prepare(tmp_path)
    (root / "query" / "Thumbs.db").unlink()
    (root / "query").rmdir()
    with pytest.raises(InputError, match=r"query is missing"):
        market1501.prepare(tmp_path)
    assert not (tmp_path / "prepared").exists()


def test_strange_image_names_are_counted_and_the_first_is_named(tmp_path):
    root = write_set(tmp_path / "Market-1501-v15.09.15")
    for name in ("holiday.jpg", "0001_c2_f0046182.jpg"):
        (root / "query" / name).write_bytes(jpeg(1))
    with pytest.raises(InputError, match=r"2 image name\(s\) in .*query .*'0001_c2_f0046182.jpg'"):
        market1501.prepare(tmp_path)


def test_a_file_that_is_no_zip_and_a_zip_of_something_else(tmp_path):
    broken = tmp_path / "Market-1501-v15.09.15.zip"
    broken.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="cannot be read as a zip"):
        market1501.find_source(tmp_path)
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("other/readme.txt", "hello")
    with pytest.raises(InputError, match="it is not Market-1501"):
        market1501.find_source(tmp_path)


def test_preparing_never_imports_tensorflow(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    script = (
        "import sys\n"
        "from reid_jax.data.split import load_split\n"
        f"assert len(load_split('market1501', 'train', {str(tmp_path)!r}, (160, 64))) == 3\n"
        "assert not any(name.split('.')[0] == 'tensorflow' for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=pathlib.Path(__file__).parents[1])


def test_parse_name_reads_identity_and_camera():
    assert market1501.parse_name("-1_c6s2_000401_03.jpg") == (-1, 6)
    assert market1501.parse_name("1501_c12s2_000401_03.png") == (1501, 12)
    assert market1501.parse_name("x0002_c1s1_000451_03.jpg") is None
    assert np.isscalar(market1501.parse_name("0002_c1s1_000451_03.jpg")[0])
