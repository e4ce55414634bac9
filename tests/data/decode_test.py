"""Every odd image gives the right picture or a clear error."""

import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_sets import encoded, jpeg
from PIL import Image

from reid_jax.data.decode import decode, from_pillow, kind, resize, undecodable
from reid_jax.errors import InputError

PIXELS = np.zeros((4, 6, 3), np.uint8)
PIXELS[0, 0], PIXELS[3, 1] = 255, (10, 200, 30)
# What each EXIF orientation asks of the stored pixels, in NumPy's words.
SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", [*SHOWN, 0, 9])
@pytest.mark.parametrize("kind_name", ["PNG", "TIFF"])  # Pillow turns a TIFF by itself
def test_exif_orientation_is_applied_once(orientation, kind_name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(PIXELS), kind_name, exif=exif)
    np.testing.assert_array_equal(decode(data), SHOWN.get(orientation, SHOWN[1])(PIXELS))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_beside_sound_pixels_is_ignored():
    whole = jpeg(80)
    segment = b"Exif\x00\x00II*\x00\xff\xff\xff\x7f"  # its directory lies far behind the end
    data = whole[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + whole[2:]
    np.testing.assert_array_equal(decode(data), decode(whole))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_becomes_rgb(mode):
    shade = {"1": 255, "L": 90, "LA": (90, 255), "P": 0, "RGBA": (90, 90, 90, 255)}[mode]
    image = Image.new(mode, (6, 4), shade)
    if mode == "P":
        image.putpalette([90, 90, 90] * 256)
    pixels = decode(encoded(image))
    assert pixels.shape == (4, 6, 3)
    assert (pixels == (255 if mode == "1" else 90)).all()


def test_alpha_is_dropped_and_the_stored_colour_stays():
    np.testing.assert_array_equal(decode(encoded(Image.new("RGBA", (1, 1), (9, 8, 7, 0))))[0, 0], (9, 8, 7))
    np.testing.assert_array_equal(decode(encoded(Image.new("LA", (1, 1), (9, 0))))[0, 0], (9, 9, 9))
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([1, 2, 3, 9, 8, 7])
    np.testing.assert_array_equal(decode(encoded(palette, transparency=b"\xff\x00"))[0, 0], (9, 8, 7))


@pytest.mark.parametrize(
    ("ink", "colour"),
    [((0, 0, 0, 0), (255, 255, 255)), ((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_cmyk_jpeg_is_not_shown_in_negative(ink, colour):
    # Adobe's convention, which every CMYK JPEG in practice follows, stores the inks inverted; a TIFF does not.
    image = Image.new("CMYK", (16, 16), ink)
    data = encoded(image, "JPEG", quality=95)
    assert b"Adobe" in data
    for pixels in (decode(data), decode(encoded(image, "TIFF"))):
        assert np.abs(pixels.astype(int) - colour).max() <= 3


@pytest.mark.parametrize("kind_name", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind_name):
    grey = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    pixels = decode(encoded(Image.fromarray(grey), kind_name))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 128, 255])
    assert (pixels == pixels[..., :1]).all()


def test_a_pgm_of_sixteen_bits_is_scaled_by_its_own_range():
    grey = np.array([0, 2048, 4095], ">u2")
    assert decode(b"P5\n3 1\n4095\n" + grey.tobytes())[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(dtype):
    with pytest.raises(InputError, match="whose range is unknown; save it with 8 bits"):
        decode(encoded(Image.fromarray(np.ones((4, 4), dtype)), "TIFF"))


def test_one_pixel_and_a_png_with_another_name_are_fine():
    np.testing.assert_array_equal(decode(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))), [[[1, 2, 3]]])
    assert (decode(encoded(Image.new("RGB", (1, 1), (1, 2, 3))), (160, 64)) == (1, 2, 3)).all()


def test_what_is_wrong_is_said():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for data, said in (
        (b"", "it is empty"),
        (b"<html>", "no image of a kind that is read"),
        (encoded(noise, "JPEG")[:-500], "it is damaged .*truncated"),
        (encoded(noise, "PNG")[:-500], "it is damaged .*truncated"),
        (encoded(noise, "BMP")[:-500], "it is damaged .*truncated"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            decode(data, (16, 16))
        assert "\n" not in str(caught.value)


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 128\n%%EndComments\n0 0 64 128 rectfill\nshowpage\n%%EOF\n"
)


def test_only_the_listed_formats_are_opened(monkeypatch):
    picture = Image.new("RGB", (8, 16), (200, 30, 40))
    for name in ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM"):
        assert decode(encoded(picture, name)).shape == (16, 8, 3)
        assert kind(encoded(picture, name)) == name
    # Ghostscript would be started by Pillow's decoder of PostScript, through subprocess.
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    others = [encoded(picture, name) for name in ("ICO", "TGA", "JPEG2000", "PCX", "SGI", "ICNS", "EPS", "PDF")]
    for data in (POSTSCRIPT, b"\xc5\xd0\xd3\xc6" + bytes(26) + POSTSCRIPT, *others):
        with pytest.raises(InputError, match="it is no image of a kind that is read .JPEG, PNG, "):
            decode(data)
        assert kind(data) is None


def png_of(width, height):
    """A PNG that claims a size and holds no pixels."""

    def chunk(name, body):
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(7072, 7072), (10_000, 10_000), (2**31 - 1, 2**31 - 1), (1, 50_000_001)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size):
    with pytest.raises(InputError, match="more than the 50,000,000 .*that an image may have"):
        decode(png_of(*size), (160, 64))


def test_a_frame_of_8k_video_passes():
    assert decode(encoded(Image.new("L", (7680, 4320), 9), "JPEG"), (160, 64)).max() == 9


def test_a_jpeg_of_endless_scans_is_refused():
    data = encoded(Image.new("RGB", (2000, 1000)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data[:-2] + 5 * last + data[-2:], (16, 16)).shape == (16, 16, 3)
    with pytest.raises(InputError, match="far more scans than a JPEG needs"):
        decode(data[:-2] + 2500 * last + data[-2:], (16, 16))


def tiff_of_tiles(side):
    """A grey TIFF of 8 x 16 pixels in one tile of side x side."""
    data = zlib.compress(bytes(64 * 64))
    tags = {256: 8, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_a_tiff_of_huge_tiles_is_refused():
    assert decode(tiff_of_tiles(64)).shape == (16, 8, 3)
    for side in (2016, 20_000, 2**31 - 16):  # the second takes 0.4 GiB, of 200 bytes
        with pytest.raises(InputError, match="it has tiles far larger than the image"):
            decode(tiff_of_tiles(side), (160, 64))


@pytest.mark.parametrize("name", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_pictures_the_first_is_taken(name):
    first, second = Image.new("RGB", (8, 16), (255, 255, 255)), Image.new("RGB", (8, 16), (0, 0, 0))
    data = encoded(first, name, save_all=True, append_images=[second])
    assert (decode(data) == 255).all()


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_large_images_are_decoded_one_at_a_time(name, monkeypatch):
    monkeypatch.setattr("reid_jax.data.decode._ALONE", 100)
    inside, most = [], []

    def look(image, size):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr("reid_jax.data.decode._pixels", look)
    data = encoded(Image.new("RGB", (20, 20)), name)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, [data] * 4))
    assert max(most) == 1


def test_resizing_is_pillows_and_a_large_turned_jpeg_stays_near_the_full_decoding():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 64, 3), np.uint8))
    np.testing.assert_array_equal(decode(encoded(noise), (160, 64)), np.asarray(noise))
    np.testing.assert_array_equal(
        decode(encoded(noise), (80, 40)), np.asarray(noise.resize((40, 80), Image.Resampling.BILINEAR))
    )
    ramp = np.add.outer(np.arange(512), np.arange(1024)) / 6
    image = Image.fromarray(np.stack([ramp, 255 - ramp, ramp / 2], -1).clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(image, "JPEG", quality=95, exif=exif)
    full = Image.fromarray(decode(data)).resize((64, 160), Image.Resampling.BILINEAR)
    small = decode(data, (160, 64))
    assert small.shape == (160, 64, 3)
    assert np.abs(small.astype(int) - np.asarray(full, int)).mean() < 2


def test_the_kind_is_that_of_the_content():
    assert kind(jpeg(1)) == "JPEG"
    assert kind(encoded(Image.new("L", (2, 2)))) == "PNG"
    assert kind(b"text") is None


def test_pillow_images_and_pixels_become_what_files_of_them_do():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 20, 3), np.uint8)
    for image in (Image.fromarray(pixels), Image.fromarray(pixels[..., 0]), Image.fromarray(pixels).convert("P")):
        data = encoded(image)
        for size in ((50, 20), (16, 8), (100, 40)):
            np.testing.assert_array_equal(from_pillow(image, size), decode(data, size))
        np.testing.assert_array_equal(from_pillow(image), decode(data))
    for size in ((50, 20), (16, 8)):
        np.testing.assert_array_equal(resize(pixels, size), decode(encoded(Image.fromarray(pixels)), size))
    lazy = Image.open(io.BytesIO(encoded(Image.fromarray(pixels))[:400]))
    with pytest.raises(InputError, match="it is damaged"):
        from_pillow(lazy)
    for wrong in (pixels[..., 0], pixels[..., :2], pixels.astype(np.float32), pixels[:0]):
        with pytest.raises(InputError, match=r"give uint8 \[h, w, 3\]"):
            resize(wrong, (16, 8))


def test_undecodable_images_are_named_in_one_line_with_their_reasons():
    broken = [(f"{letter}.jpg", "it is empty (0 bytes)") for letter in "abcdefg"]
    line = undecodable(broken, " of market1501 train")
    assert line.startswith("7 image(s) of market1501 train cannot be decoded: a.jpg (it is empty (0 bytes)); b.jpg (")
    assert line.endswith("e.jpg (it is empty (0 bytes)) and 2 more; fetch or unpack these files again")
