"""The small crop: of bounded size, turned as the file says, and nothing but pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.gallery.small_jpeg import small_jpeg


def file_of(size, orientation=1, kind="JPEG"):
    """A picture whose left half is red, with EXIF."""
    image = Image.new("RGB", size, (20, 20, 220))
    image.paste((220, 20, 20), (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Secret Cameras"
    file = io.BytesIO()
    image.save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((64, 128), (64, 128)), ((1200, 400), (256, 85)), ((3000, 1), (256, 1)), ((256, 257), (255, 256))],
)
def test_the_longer_side_is_bounded_and_the_shape_kept(size, wanted):
    pixels = np.asarray(Image.open(io.BytesIO(file_of(size, kind="PNG"))))
    for image in (file_of(size), file_of(size, kind="PNG"), pixels):
        small = Image.open(io.BytesIO(small_jpeg(image)))
        assert (small.format, small.size) == ("JPEG", wanted)


def test_it_is_turned_and_tells_nothing_else():
    data = file_of((600, 300), orientation=6)  # to be turned by a quarter, clockwise: red is then above
    assert b"Secret" in data
    small = small_jpeg(data)
    assert b"Secret" not in small
    assert b"Exif" not in small
    image = Image.open(io.BytesIO(small))
    assert image.size == (128, 256)
    assert image.getpixel((64, 20))[0] > 180
    assert image.getpixel((64, 236))[2] > 180


def test_what_is_no_image_is_refused():
    for data, message in (
        (b"", "it is empty"),
        (b"text", "it is no image"),
        (file_of((99, 99))[:300], "it is damaged"),
    ):
        with pytest.raises(InputError, match=message):
            small_jpeg(data)
