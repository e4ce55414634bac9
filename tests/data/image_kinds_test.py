"""Every ending that counts as an image is one that is decoded, and what it holds is what it promises."""

import pytest
from made_sets import encoded
from PIL import Image

from reid_jax.data.decode import decode, kind
from reid_jax.data.image_kinds import FORMATS_OF, IMAGE_FORMATS


@pytest.mark.parametrize(("ending", "formats"), FORMATS_OF.items())
def test_what_an_ending_promises_is_decoded(ending, formats):
    data = encoded(Image.new("L", (2, 3), 255), formats[0])
    assert kind(data) in formats
    assert decode(data).shape == (3, 2, 3)
    assert Image.registered_extensions().get(ending, "PPM") in formats  # Pillow would save under it as such


def test_a_file_is_opened_as_one_of_the_formats():
    Image.init()
    assert set(IMAGE_FORMATS) <= set(Image.OPEN)
    assert "EPS" not in IMAGE_FORMATS
