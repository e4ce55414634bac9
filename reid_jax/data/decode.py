"""Decoding of one image file to pixels."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from reid_jax.errors import InputError

_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap width and height
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, image_size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes one encoded image to uint8 RGB [height, width, 3], turned as its EXIF orientation says.

    Grey, palette and CMYK images become RGB; 16-bit grey keeps its high byte; alpha is dropped, so that pixels
    show the colour stored under it, as they do in other libraries. Bilinear (antialiased where it shrinks), and only
    where the size differs from `image_size` (height, width); None keeps the file's own size.

    Raises:
      InputError: what is wrong with the file, such as 'it is empty (0 bytes)'; the caller names the file.
    """
    if not data:
        raise InputError("it is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _pixels(image, image_size)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError("it is no image of a kind that Pillow reads") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"it is too large: {error}") from error
    except Exception as error:  # Pillow's plugins raise many kinds; each means that this file is broken
        raise InputError(f"it is damaged ({_first_line(error)})") from error


def kind(data: bytes) -> str | None:
    """The format of an encoded image by its content, in Pillow's words such as 'JPEG'; None where it is no image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.format
    except Exception:  # as in `decode`
        return None


def _pixels(image: Image.Image, image_size: tuple[int, int] | None) -> np.ndarray:
    if image_size is not None and image.format == "JPEG":
        height, width = image_size if _orientation(image) < 5 else image_size[::-1]
        image.draft("RGB", (width, height))  # decodes a large JPEG at 1/2, 1/4 or 1/8, never below the target
    image.load()
    orientation = _orientation(image)  # again: Pillow turns a TIFF while it loads
    image = _rgb(image)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    if image_size is not None and image.size != (image_size[1], image_size[0]):
        image = image.resize((image_size[1], image_size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF beside sound pixels
        return 1
    return value if value in _TURNS else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")  # by Pillow's version
    if sixteen:
        # Pillow's own conversion clips at 255 instead.
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise InputError(f"its pixels are of mode {image.mode}, whose range is unknown; save it with 8 bits a channel")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns on the direct way
    return image.convert("RGB")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
