"""Splits in memory and on disk: the same labels and pixels, joined sets kept apart, and broken files named."""

import numpy as np
import pytest
from made_sets import DUKE, MARKET, png, write_set
from PIL import Image

from reid_jax.data import split
from reid_jax.errors import InputError

SIZE = (160, 64)


@pytest.fixture
def both(tmp_path):
    """A folder with a small Market-1501 and a small DukeMTMC-reID."""
    write_set(tmp_path / "Market-1501-v15.09.15", MARKET, lambda shade: png(shade, (64, 160)))
    write_set(tmp_path / "DukeMTMC-reID", DUKE, lambda shade: png(100 + shade, (40, 90)))
    return tmp_path


def assert_same(one, other):
    for field in ("image", "identity", "camera", "tracklet", "origin", "name"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)


def test_load_split_keeps_pixels_of_the_right_size_and_the_names_facts(both):
    train = split.load_split("market1501", "train", str(both), SIZE)
    assert (train.image.dtype, train.image.shape) == (np.uint8, (3, 160, 64, 3))
    for column in (train.identity, train.camera, train.tracklet, train.origin):
        assert column.dtype == np.int32
    assert train.identity.tolist() == [2, 2, 7]
    assert train.camera.tolist() == [1, 2, 3]
    assert train.tracklet.tolist() == [-1] * 3
    assert train.origin.tolist() == [0] * 3
    for row, name in enumerate(train.name):
        pixels = np.asarray(Image.open(both / "Market-1501-v15.09.15" / str(name)))
        np.testing.assert_array_equal(train.image[row], pixels)


def test_stored_and_loaded_splits_give_the_same_rows(both, monkeypatch):
    monkeypatch.setattr(split, "_READ_AT_ONCE", 2)
    (stored,) = split.open_splits("market1501+dukemtmcreid", ["train"], both, SIZE)
    whole = stored.load()
    assert len(stored) == len(whole) == 6
    for index in (
        np.array([5, 0, 3, 3]),
        np.array([-1]),
        np.array([True, False, False, True, False, True]),
        np.array([], int),
        np.arange(5)[::-1],
    ):
        assert_same(stored.select(index), whole.select(index))
    with pytest.raises(IndexError):
        stored.select(np.array([6]))
    for size in (1, 4, 6, 100):
        parts, others = list(stored.blocks(size)), list(whole.blocks(size))
        assert [len(part) for part in parts] == [len(part) for part in others]
        for one, other in zip(parts, others, strict=True):
            assert_same(one, other)


def test_nothing_selected_gives_no_block(both):
    (stored,) = split.open_splits("market1501", ["train"], both, SIZE)
    assert list(stored.subset(np.zeros(len(stored), bool)).blocks(4)) == []


def test_a_reader_may_leave_the_blocks_early(both):
    (stored,) = split.open_splits("market1501", ["train"], both, SIZE)
    blocks = stored.blocks(1)
    assert next(blocks).identity.tolist() == [2]
    blocks.close()


def test_joined_sets_share_no_number_and_agree_over_their_splits(both):
    name = "market1501+dukemtmcreid"
    train, query, gallery = split.open_splits(name, ["train", "query", "gallery"], both, SIZE)
    # Market-1501's largest identity is 7, over all of its splits, and its largest camera 6.
    assert train.identity.tolist() == [2, 2, 7, 9, 9, 13]
    assert train.camera.tolist() == [1, 2, 3, 9, 10, 15]
    assert train.origin.tolist() == [0, 0, 0, 1, 1, 1]
    assert query.identity.tolist() == [3, 3, 14]
    assert gallery.identity.tolist() == [0, 3, 3, 14, 17]
    assert train.name[0].startswith("market1501/bounding_box_train/")
    assert train.name[3].startswith("dukemtmcreid/bounding_box_train/")
    alone = split.load_split("dukemtmcreid", "train", both, SIZE)
    np.testing.assert_array_equal(train.select(np.arange(3, 6)).image, alone.image)


def test_a_set_joined_with_itself_stays_apart_and_a_split_that_is_not_there_does_not_matter(both):
    for file in (both / "Market-1501-v15.09.15" / "query").iterdir():
        file.unlink()
    (train,) = split.open_splits("market1501+market1501", ["train"], both, SIZE)
    assert train.identity.tolist() == [2, 2, 7, 10, 10, 15]
    assert len(set(train.name)) == 6
    with pytest.raises(InputError, match="query holds no image"):
        split.open_splits("market1501+market1501", ["query"], both, SIZE)


def test_unknown_cameras_and_stills_stay_so_when_sets_are_joined(both):
    (both / "Market-1501-v15.09.15" / "images").mkdir()
    (both / "Market-1501-v15.09.15" / "images" / "x.png").write_bytes(png(1))
    (gallery,) = split.open_splits("dukemtmcreid+market1501:distractors", ["gallery"], both, SIZE)
    assert gallery.camera[-1] == -1
    assert gallery.identity[-1] == gallery.identity[2] == 10  # a distractor is nobody of the set before
    assert (gallery.tracklet == -1).all()


def test_numbers_beyond_32_bits_are_told(both, monkeypatch):
    train = both / "Market-1501-v15.09.15" / "bounding_box_train"
    (train / "0002_c1s1_000451_03.jpg").rename(train / "999999999_c1s1_000451_03.jpg")
    assert split.load_split("market1501", "train", both, SIZE).identity.max() == 999999999
    with pytest.raises(InputError, match="identity 2999999999 does not fit 32 bits"):
        split.open_splits("market1501+market1501+market1501", ["train"], both, SIZE)


def test_broken_files_are_named_and_mended_files_are_read_again(both):
    folder = both / "Market-1501-v15.09.15" / "bounding_box_train"
    whole = (folder / "0002_c2s1_000001_00.jpg").read_bytes()
    (folder / "0002_c2s1_000001_00.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "0007_c3s3_000002_01.jpg").write_bytes(b"<html>")
    (stored,) = split.open_splits("market1501", ["train"], both, SIZE)
    for read in (stored.load, lambda: list(stored.blocks(3)), lambda: stored.select(np.arange(3))):
        with pytest.raises(InputError, match=r"2 image\(s\) of market1501 train") as caught:
            read()
        for said in ("0002_c2s1_000001_00.jpg (it is damaged", "0007_c3s3_000002_01.jpg (it is no image"):
            assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    assert stored.select(np.array([0])).identity.tolist() == [2]
    for name in ("0002_c2s1_000001_00.jpg", "0007_c3s3_000002_01.jpg"):
        (folder / name).write_bytes(whole)
    assert len(split.load_split("market1501", "train", both, SIZE)) == 3


def test_damaged_records_are_named(both):
    (stored,) = split.open_splits("market1501", ["train"], both, SIZE)
    for file in (both / "prepared").rglob("*.array_record*"):
        file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(InputError, match=r"prepared records in .*market1501-train-.* are damaged .*remove that folder"):
        stored.load()
    with pytest.raises(InputError, match="are damaged"):
        split.load_split("market1501", "train", both, SIZE)


def test_unknown_names_list_the_known(both):
    with pytest.raises(InputError, match=r"unknown data set 'market'.*known: market1501, dukemtmcreid"):
        split.load_split("market", "train", both, SIZE)
    with pytest.raises(InputError, match=r"market1501 has no split 'test'; it has train, query, gallery"):
        split.load_split("market1501", "test", both, SIZE)
    with pytest.raises(InputError, match="the fields are: distractors"):
        split.load_split("market1501:seed=1", "train", both, SIZE)
    for size in ((160, 0), (160,), (1.5, 64)):
        with pytest.raises(InputError, match="image_size"):
            split.load_split("market1501", "train", both, size)
