"""Which files are images: the endings that their names have, and what may be inside a file of each.

Formats are in Pillow's words. The list is closed, for Pillow knows formats that start other programs (EPS) or that no
camera writes. AVIF, HEIC and JPEG 2000 are not in it: not every Pillow reads them.
"""

_JPEG = ("JPEG", "MPO")  # MPO is a JPEG with further pictures behind the first
_NETPBM = ("PPM",)  # Pillow's word for all of PBM, PGM and PPM

FORMATS_OF = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".png": ("PNG",),
    ".bmp": ("BMP", "DIB"),
    ".webp": ("WEBP",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".gif": ("GIF",),
    ".ppm": _NETPBM,
    ".pgm": _NETPBM,
    ".pbm": _NETPBM,
    ".pnm": _NETPBM,
}
IMAGE_ENDINGS = tuple(FORMATS_OF)
# The only decoders that a file reaches, whatever its name says; an MPO is opened as a JPEG.
IMAGE_FORMATS = tuple(dict.fromkeys(form for forms in FORMATS_OF.values() for form in forms if form != "MPO"))
