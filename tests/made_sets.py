"""Small data sets that tests write to disk: a colour says which file a picture is."""

import io
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

MARKET = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000001_00.jpg", "0007_c3s3_000002_01.jpg"],
    "query": ["0003_c1s1_000451_00.jpg", "0003_c6s4_000002_00.jpg.jpg"],
    "bounding_box_test": [
        "0003_c2s1_000100_02.jpg",
        "-1_c1s1_000401_03.jpg",
        "0000_c4s1_000151_01.jpg",
        "0003_c1s1_000451_01.jpg",
    ],
}
DUKE = {
    "bounding_box_train": ["0001_c2_f0046182.jpg", "0001_c3_f0046182.jpg", "0005_c8_f0000001.jpg"],
    "query": ["0006_c2_f0000001.jpg"],
    "bounding_box_test": ["0006_c3_f0000005.jpg", "0009_c1_f0000007.jpg"],
}


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(shade: int, size: tuple[int, int] = (64, 128)) -> bytes:
    """A JPEG of one colour; `size` is (width, height)."""
    return encoded(Image.new("RGB", size, (shade % 256, 90, 20)), "JPEG")


def png(shade: int, size: tuple[int, int] = (64, 128)) -> bytes:
    """A PNG of noise, which differs from pixel to pixel."""
    pixels = np.random.default_rng(shade).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return encoded(Image.fromarray(pixels))


def write_set(root: pathlib.Path, files: Mapping[str, Sequence[str]] = MARKET, make=jpeg) -> pathlib.Path:
    """Writes folders of images, each of another content, and returns `root`."""
    shade = 0
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            shade += 5
            (root / folder / name).write_bytes(make(shade))
    return root


def zipped(folder: pathlib.Path, path: pathlib.Path, prefix: str = "", separator: str = "/") -> pathlib.Path:
    """Writes a zip of all that is in a folder, each name behind a prefix, and returns its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            info = zipfile.ZipInfo.from_file(file, prefix + file.relative_to(folder).as_posix())
            info.filename = info.filename.replace("/", separator)
            archive.writestr(info, b"" if file.is_dir() else file.read_bytes(), zipfile.ZIP_DEFLATED)
    return path


def write_leavings(folder: pathlib.Path) -> pathlib.Path:
    """One image, a.jpg in a folder called cam1.jpg, and what systems and people leave beside it."""
    names = ["cam1.jpg/a.jpg", "cam1.jpg/._a.jpg", ".thumbnails/a.jpg", "__MACOSX/cam1.jpg/a.jpg", "cam1.jpg/Thumbs.db"]
    for name in [*names, "@eaDir/a.jpg/M.jpg", "cam1.jpg/.hidden/deep/a.jpg", "notes.txt", ".git/config", "b.heic"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder
