"""The small crop that a gallery keeps of an image, to be shown beside a match."""

import io

import numpy as np
from PIL import Image

from reid_jax.data.decode import decode_shrunk, resize

LONGEST = 256  # pixels of its longer side
_QUALITY = 85


def small_jpeg(image: bytes | np.ndarray) -> bytes:
    """Returns an image file's bytes, or RGB pixels uint8 [h, w, 3], as a JPEG of at most 256 pixels a side.

    It is encoded anew: nothing but pixels is kept, no place, time or camera that the file may tell.
    Raises InputError for what is no image, as `data.decode.decode` does.
    """
    if isinstance(image, np.ndarray):
        scale = min(1, LONGEST / max(*image.shape[:2], 1))
        pixels = resize(image, tuple(max(1, round(side * scale)) for side in image.shape[:2]))
    else:
        pixels = decode_shrunk(image, LONGEST)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
