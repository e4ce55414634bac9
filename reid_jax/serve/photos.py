"""What a client sends as an image, and the part of it that shows the person."""

import math

import numpy as np

from reid_jax.data.decode import TooLargeError, decode, kind, resize
from reid_jax.data.image_kinds import IMAGE_FORMATS
from reid_jax.errors import InputError, shown
from reid_jax.serve.refusal import Refusal

Box = tuple[float, float, float, float]


def parse_box(text: str) -> Box | None:
    """Reads 'left,top,right,bottom' in pixels; None for '', the whole image.

    Raises Refusal (422) for anything else, and for a box without an area.
    """
    if not text.strip():
        return None
    try:
        sides = tuple(float(side) for side in text.split(","))
    except ValueError:
        sides = ()
    if len(sides) != 4 or not all(map(math.isfinite, sides)):
        raise Refusal(422, f"a box is {shown(text)!r}; give left,top,right,bottom in pixels, or nothing for the whole")
    left, top, right, bottom = sides
    if right <= left or bottom <= top:
        raise Refusal(422, f"the box {shown(text)!r} has no area: right must be beyond left, and bottom below top")
    return sides


def read_photo(name: str, data: bytes, box: Box | None, image_size: tuple[int, int]) -> np.ndarray:
    """Decodes an image file as evaluation does: uint8 RGB [*image_size, 3], of what the box shows of it.

    The box is in pixels of the image as it is seen, turned as its EXIF orientation says; it is rounded and clipped.
    Raises Refusal: 415 for what is no image, 413 for too many pixels, 422 for a damaged image or a box beside it.
    """
    try:
        if box is None:
            return decode(data, image_size)
        frame = decode(data)
    except TooLargeError as error:
        raise Refusal(413, f"{shown(name)}: {error}; send a smaller picture") from error
    except InputError as error:
        if data and kind(data) is None:
            kinds = ", ".join(IMAGE_FORMATS)
            raise Refusal(415, f"{shown(name)} is no image of a kind that is read ({kinds})") from error
        raise Refusal(422, f"{shown(name)}: {error}; send another picture") from error
    height, width = frame.shape[:2]
    left, top, right, bottom = np.clip(np.rint(box), 0, [width, height, width, height]).astype(int)
    if right <= left or bottom <= top:
        sides = ", ".join(f"{side:g}" for side in box)
        raise Refusal(422, f"the box {sides} shows no pixel of {shown(name)}, which has {width} x {height}")
    return resize(frame[top:bottom, left:right], image_size)
