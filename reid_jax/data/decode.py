"""One image to RGB pixels of the size wanted: `decode` from a file's bytes, `from_pillow`, and `resize` from pixels.

Nothing else opens image files: what one may be, and how large, stands here. All three, and `decode_shrunk`, resize
alike.
"""

import io
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, UnidentifiedImageError

from reid_jax.data.image_kinds import IMAGE_FORMATS
from reid_jax.errors import InputError, first_few

# A frame of 8K video has 33 million pixels, a telephone's photograph 48; a person crop has ten thousand.
MOST_PIXELS = 50_000_000

_ALONE = 4_000_000  # pixels from which on images are decoded one at a time: a core each would take 0.5 GiB each
_MOST_SCANS = 100  # of a JPEG of the most pixels, each of which passes over all of them; encoders write about ten
_START_OF_SCAN = b"\xff\xda"
_TILE_SIDES = (0x0142, 0x0143)  # tags of TIFF; a tile is decoded whole, however little of it the image shows
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
# One thread decodes all large images: with a lock instead, each thread's heap would keep what its largest one took.
_LARGE = ThreadPoolExecutor(1)

_READING = threading.Lock()  # of Pillow images: the same one may be handed to two threads

# Pillow warns, in two lines on stderr, before the size is known here; the bound above is the lower one.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class TooLargeError(InputError):
    """An image has more pixels than one may have."""


def decode(data: bytes, image_size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes one encoded image to uint8 RGB [height, width, 3], turned as its EXIF orientation says.

    Grey, palette and CMYK images become RGB; 16-bit grey keeps its high byte; alpha is dropped, so that pixels
    show the colour stored under it, as they do in other libraries. Bilinear (antialiased where it shrinks), and only
    where the size differs from `image_size` (height, width); None keeps the file's own size. Of a file with several
    pictures it is the first. Threads may decode at the same time; large images wait for each other.

    Raises:
      InputError: what is wrong with the file, such as 'it is empty (0 bytes)'; the caller names the file.
    """
    return _decoded(data, lambda image: image_size)


def decode_shrunk(data: bytes, longest: int) -> np.ndarray:
    """Decodes one encoded image as `decode` does, shrunk so that its longer side has at most `longest` pixels."""

    def size_of(image: Image.Image) -> tuple[int, int]:
        width, height = image.size if _orientation(image) < 5 else image.size[::-1]
        scale = min(1, longest / max(width, height))
        return max(1, round(height * scale)), max(1, round(width * scale))

    return _decoded(data, size_of)


def _decoded(data: bytes, size_of: Callable[[Image.Image], tuple[int, int] | None]) -> np.ndarray:
    """See `decode`; the size wanted may follow from the image's own."""
    if not data:
        raise InputError("it is empty (0 bytes)")
    try:
        with _open(data) as image:
            _check_room(image, data)
            if image.width * image.height <= _ALONE:
                return _pixels(image, size_of(image))
            return _LARGE.submit(_pixels, image, size_of(image)).result()
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"it is no image of a kind that is read ({', '.join(IMAGE_FORMATS)})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # Pillow's own, higher bounds
        raise TooLargeError(f"it has more than the {MOST_PIXELS:,} pixels that an image may have") from error
    except Exception as error:  # Pillow's plugins raise many kinds; each means that this file is broken
        raise InputError(f"it is damaged ({_first_line(error)})") from error


def from_pillow(image: Image.Image, image_size: tuple[int, int] | None = None) -> np.ndarray:
    """Returns a Pillow image as `decode` does a file of the same pixels: uint8 RGB [height, width, 3].

    The image may be of any mode, and one that Pillow has opened but not read yet; it stays as it is. It is turned where
    it has an EXIF orientation. Its pixels are read in full, while `decode` reads a JPEG of twice the size and more at
    1/2, 1/4 or 1/8 of it. Raises InputError where it cannot be read; the caller names the image.
    """
    if image.width * image.height > MOST_PIXELS:
        raise TooLargeError(_too_large(image))
    try:
        with _READING:
            image.load()
        pixels = np.asarray(_turned(_rgb(image), _orientation(image)))
        return pixels if image_size is None else resize(pixels, image_size)
    except InputError:
        raise
    except Exception as error:  # as in `decode`
        raise InputError(f"it is damaged ({_first_line(error)})") from error


def resize(pixels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Returns RGB pixels uint8 [h, w, 3] as `decode` does a file of them: uint8 [height, width, 3].

    Raises InputError for an array of another shape or type; the caller names the image.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise InputError(f"it has shape {list(pixels.shape)} and type {pixels.dtype}; give uint8 [h, w, 3], 0 to 255")
    if pixels.shape[:2] == tuple(image_size):
        return pixels
    size = (image_size[1], image_size[0])
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR))


def undecodable(broken: Sequence[tuple[str, str]], where: str = "") -> str:
    """The one line about images that cannot be decoded, each given as (name, reason): how many, and the first few.

    `where`, such as ' of market1501 train', follows the number.
    """
    few = first_few([f"{name} ({reason})" for name, reason in broken], "; ")
    return f"{len(broken):,} image(s){where} cannot be decoded: {few}; fetch or unpack these files again"


def kind(data: bytes) -> str | None:
    """The format of an encoded image by its content, in Pillow's words such as 'JPEG'; None where it is no image."""
    try:
        with _open(data) as image:
            return image.format
    except Exception:  # as in `decode`
        return None


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)


def _check_room(image: Image.Image, data: bytes) -> None:
    """Raises InputError, before any pixel is decoded, where that would take far more than a person crop needs."""
    pixels = image.width * image.height
    if pixels > MOST_PIXELS:
        raise TooLargeError(_too_large(image))
    if image.format == "TIFF" and not _tiles_fit(image.tag_v2, max(pixels, _ALONE)):
        raise InputError("it has tiles far larger than the image")
    if image.format in ("JPEG", "MPO") and data.count(_START_OF_SCAN) * pixels > _MOST_SCANS * MOST_PIXELS:
        raise InputError("it has far more scans than a JPEG needs, each of which takes as long as the whole image")


def _too_large(image: Image.Image) -> str:
    return f"it has {image.width:,} x {image.height:,} pixels, more than the {MOST_PIXELS:,} that an image may have"


def _tiles_fit(tags: Mapping[int, object], most: int) -> bool:
    sides = [tags.get(tag, 0) for tag in _TILE_SIDES]
    return all(isinstance(side, int) for side in sides) and sides[0] * sides[1] <= most


def _pixels(image: Image.Image, image_size: tuple[int, int] | None) -> np.ndarray:
    if image_size is not None and image.format == "JPEG":
        height, width = image_size if _orientation(image) < 5 else image_size[::-1]
        image.draft("RGB", (width, height))  # decodes a large JPEG at 1/2, 1/4 or 1/8, never below the target
    image.load()
    orientation = _orientation(image)  # again: Pillow turns a TIFF while it loads
    image = _turned(_rgb(image), orientation)
    if image_size is not None and image.size != (image_size[1], image_size[0]):
        image = image.resize((image_size[1], image_size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF beside sound pixels
        return 1
    return value if value in _TURNS else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    # By Pillow's version a PNG; a PGM's range is always stretched to 16 bits.
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
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
