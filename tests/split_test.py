"""Loading a split into memory, decoding, and holding identities out."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from reid_jax.data import split
from reid_jax.errors import InputError


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def market(tmp_path) -> pathlib.Path:
    rng = np.random.default_rng(0)
    names = {
        "bounding_box_train": [
            "0002_c1s1_000001_01.png",
            "0002_c2s1_000001_01.png",
            "0005_c4s1_000001_01.png",
        ],
        "query": ["0003_c1s1_000001_01.png"],
        "bounding_box_test": ["0003_c2s1_000001_01.png"],
    }
    for folder, files in names.items():
        (tmp_path / "Market-1501-v15.09.15" / folder).mkdir(parents=True)
        for name in files:
            pixels = rng.integers(0, 256, (160, 64, 3), np.uint8)
            (tmp_path / "Market-1501-v15.09.15" / folder / name).write_bytes(encoded(Image.fromarray(pixels)))
    return tmp_path


def made(identity, camera) -> split.Split:
    count = len(identity)
    image = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 1, 3), np.uint8)
    name = np.array([f"train/{row}.jpg" for row in range(count)])
    return split.Split(image, np.array(identity, np.int32), np.array(camera, np.int32), name)


def test_load_split_keeps_pixels_of_the_right_size_and_the_names_facts(market):
    train = split.load_split("market1501", "train", str(market), (160, 64))
    assert (train.image.dtype, train.image.shape) == (np.uint8, (3, 160, 64, 3))
    assert (train.identity.dtype, train.camera.dtype) == (np.int32, np.int32)
    assert train.identity.tolist() == [2, 2, 5]
    assert train.camera.tolist() == [1, 2, 4]
    for row, name in enumerate(train.name):
        pixels = np.asarray(Image.open(market / "Market-1501-v15.09.15" / str(name)))
        np.testing.assert_array_equal(train.image[row], pixels)


def test_load_split_resizes_like_pillow(market):
    query = split.load_split("market1501", "query", str(market), (80, 40))
    original = Image.open(market / "Market-1501-v15.09.15" / str(query.name[0]))
    np.testing.assert_array_equal(query.image[0], np.asarray(original.resize((40, 80), Image.Resampling.BILINEAR)))


def test_broken_files_are_named_and_mended_files_are_read_again(market):
    folder = market / "Market-1501-v15.09.15" / "bounding_box_train"
    whole = (folder / "0002_c2s1_000001_01.png").read_bytes()
    (folder / "0002_c2s1_000001_01.png").write_bytes(whole[: len(whole) // 2])
    (folder / "0005_c4s1_000001_01.png").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"2 image\(s\)") as caught:
        split.load_split("market1501", "train", str(market), (160, 64))
    for name in ("bounding_box_train/0002_c2s1_000001_01.png", "bounding_box_train/0005_c4s1_000001_01.png"):
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    (folder / "0002_c2s1_000001_01.png").write_bytes(whole)
    (folder / "0005_c4s1_000001_01.png").write_bytes(whole)
    assert len(split.load_split("market1501", "train", str(market), (160, 64))) == 3


def test_unknown_names_list_the_known(market):
    with pytest.raises(InputError, match=r"unknown data set 'market'.*market1501, synthetic"):
        split.load_split("market", "train", str(market), (160, 64))
    with pytest.raises(InputError, match=r"unknown split 'test'.*train, query, gallery"):
        split.load_split("market1501", "test", str(market), (160, 64))
    with pytest.raises(InputError, match="takes nothing after its name"):
        split.load_split("market1501:seed=1", "train", str(market), (160, 64))
    with pytest.raises(InputError, match="image_size"):
        split.load_split("market1501", "train", str(market), (160, 0))


def test_decode_turns_by_exif_and_converts_every_mode():
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    turned = split.decode(encoded(Image.fromarray(pixels), exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(pixels, -1))
    for mode in ("L", "LA", "P", "RGBA", "1"):
        assert split.decode(encoded(Image.new(mode, (6, 4)))).shape == (4, 6, 3)
    assert split.decode(encoded(Image.new("CMYK", (6, 4)), "JPEG")).shape == (4, 6, 3)


def test_decode_of_a_large_turned_jpeg_stays_near_the_full_decoding():
    ramp = np.add.outer(np.arange(512), np.arange(1024)) / 6
    image = Image.fromarray(np.stack([ramp, 255 - ramp, ramp / 2], -1).clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(image, "JPEG", quality=95, exif=exif)
    full = Image.fromarray(split.decode(data)).resize((64, 160), Image.Resampling.BILINEAR)
    small = split.decode(data, (160, 64))
    assert small.shape == (160, 64, 3)
    assert np.abs(small.astype(int) - np.asarray(full, int)).mean() < 2


def test_select_takes_rows_and_masks():
    some = made([1, 2, 3], [1, 1, 2])
    assert some.select(np.array([2, 0])).identity.tolist() == [3, 1]
    assert some.select(np.array([False, True, True])).name.tolist() == ["train/1.jpg", "train/2.jpg"]
    assert len(some) == 3


def test_hold_out_is_a_partition_by_identity_with_a_match_for_every_query():
    rng = np.random.default_rng(3)
    identity, camera = rng.integers(0, 40, 300), rng.integers(1, 5, 300)
    train = made(identity, camera)
    rest, query, gallery = split.hold_out(train, 12, seed=7)
    names = np.concatenate([rest.name, query.name, gallery.name])
    assert sorted(names) == sorted(train.name)
    held = set(query.identity)
    assert len(held) == 12
    assert set(gallery.identity) == held
    assert not held & set(rest.identity)
    assert len({*zip(query.identity.tolist(), query.camera.tolist(), strict=True)}) == len(query)
    for number, seen_by in zip(query.identity, query.camera, strict=True):
        assert ((gallery.identity == number) & (gallery.camera != seen_by)).any()


def test_hold_out_takes_one_query_a_camera_and_depends_on_the_seed_alone():
    train = made(np.repeat(np.arange(10), 12), np.tile(np.repeat([1, 2, 3], 4), 10))
    _, query, gallery = split.hold_out(train, 4, seed=1)
    assert (len(query), len(gallery)) == (4 * 3, 4 * 9)
    again = split.hold_out(train, 4, seed=1)[1]
    assert again.name.tolist() == query.name.tolist()
    assert split.hold_out(train, 4, seed=2)[1].name.tolist() != query.name.tolist()


@pytest.mark.parametrize(
    ("camera", "queries"),
    [([1, 2], 1), ([1, 1, 2], 1), ([1, 1, 2, 3], 2), ([1, 1, 2, 2, 3], 3), ([-1, -1, -1], 1)],
)
def test_hold_out_spares_what_the_queries_need_as_match(camera, queries):
    numbers = np.repeat([4, 5, 6], len(camera))
    _, query, gallery = split.hold_out(made(numbers, camera * 3), 1, seed=0)
    assert len(query) == queries
    for seen_by in query.camera:
        assert ((gallery.camera != seen_by) | (gallery.camera < 0)).any()


def test_hold_out_never_draws_identities_of_one_camera():
    train = made([1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 1, 2, 1, 1, 3, 3])
    assert set(split.hold_out(train, 2, seed=0)[1].identity) == {1, 2}
    with pytest.raises(InputError, match="cannot hold 3 of 4"):
        split.hold_out(train, 3, seed=0)
    with pytest.raises(InputError, match="at least 1"):
        split.hold_out(train, 0, seed=0)
