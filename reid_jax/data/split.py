"""A split held in memory: decoded once into one uint8 array, with its identities, cameras and names.

The hold-out of training identities keeps model choice away from the test set (Market-1501's protocol: single
query, at least two cameras an identity).
"""

import dataclasses
import io
import os
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageOps
from tqdm import tqdm

from reid_jax.data import synthetic
from reid_jax.data.builders import market1501
from reid_jax.errors import InputError

SPLITS = ("train", "query", "gallery")

_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap width and height
_READ_AT_ONCE = 256  # records read before their decoding: bounds the encoded bytes held
_NAMED_FILES = 5  # corrupt files that an error names one by one


@dataclasses.dataclass(frozen=True)
class Split:
    """Images of one split and what is known about each; all arrays share their first axis [n].

    image: uint8 [n, height, width, 3], RGB.
    identity: int32 [n], the data set's own numbers (0 is a distractor in Market-1501's gallery).
    camera: int32 [n], -1 where unknown.
    name: str [n], the path relative to the data set's folder, '/' separated.
    """

    image: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    name: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)

    def select(self, index: np.ndarray) -> "Split":
        """The rows that `index` (int [m], or bool [n]) names, in its order."""
        return Split(self.image[index], self.identity[index], self.camera[index], self.name[index])


def _synthetic_folder(name: str, data_dir: str) -> str:
    return str(synthetic.render(synthetic.parse(name), data_dir))


# Each entry: (name, data_dir) -> the prepared TFDS builder with the splits train, query and gallery.
BUILDERS: dict[str, Callable[[str, str], tfds.core.DatasetBuilder]] = {
    "market1501": lambda name, data_dir: market1501.prepare(data_dir),
    "synthetic": lambda name, data_dir: market1501.prepare(_synthetic_folder(name, data_dir)),
}


def check_name(name: str) -> str:
    """The key of `name` in `BUILDERS`: what stands before ':'.

    Raises:
      InputError: no such data set, or numbers after the name of one that takes none.
    """
    key, colon, _ = name.partition(":")
    if key not in BUILDERS:
        raise InputError(f"unknown data set {name!r}; known: {', '.join(BUILDERS)}")
    if colon and key != synthetic.NAME:
        raise InputError(f"data set {name!r}: {key} takes nothing after its name; write {key!r}")
    return key


def builder(name: str, data_dir: str | os.PathLike) -> tfds.core.DatasetBuilder:
    """The prepared builder of the data set `name`, whose part after ':' is the data set's own business.

    Raises:
      InputError: unknown name, or what the data set's builder finds wrong.
    """
    return BUILDERS[check_name(name)](name, os.fspath(data_dir))


def decode(data: bytes, image_size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes one encoded image to uint8 RGB [height, width, 3], turned as its EXIF orientation says.

    Bilinear (antialiased where it shrinks), and only where the size differs from `image_size` (height,
    width); None keeps the file's own size. Raises whatever Pillow raises for a broken file.
    """
    with Image.open(io.BytesIO(data)) as image:
        turned = image.getexif().get(_ORIENTATION, 1)
        if image_size is not None and image.format == "JPEG":
            height, width = image_size if turned < 5 else image_size[::-1]
            image.draft("RGB", (width, height))  # decodes a large JPEG at 1/2, 1/4 or 1/8, never below the target
        if turned != 1:
            image = ImageOps.exif_transpose(image)
        if image.mode != "RGB":
            image = image.convert("RGB")
        if image_size is not None and image.size != (image_size[1], image_size[0]):
            image = image.resize((image_size[1], image_size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image)


def load_split(name: str, split: str, data_dir: str | os.PathLike, image_size: tuple[int, int]) -> Split:
    """Loads a whole split: records prepared where missing, images decoded on all cores into one array.

    Args:
      name: 'market1501', or 'synthetic', which may carry its numbers (see `reid_jax.data.synthetic.parse`).
      split: 'train', 'query' or 'gallery'.
      data_dir: the folder that holds the data sets.
      image_size: (height, width) in pixels.

    Raises:
      InputError: unknown name or split, a missing or broken data set, or images that cannot be decoded; then
        the first few of these are named.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r} of {name}; known: {', '.join(SPLITS)}")
    if len(image_size) != 2 or any(int(side) != side or side < 1 for side in image_size):
        raise InputError(f"image_size is {tuple(image_size)}; give (height, width) in whole pixels, such as (160, 64)")
    height, width = int(image_size[0]), int(image_size[1])
    records = builder(name, data_dir).as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    count = len(records)
    image = np.empty((count, height, width, 3), np.uint8)
    identity = np.empty(count, np.int32)
    camera = np.empty(count, np.int32)
    names: list[str] = [""] * count
    broken: list[str] = []

    def fill(index: int, data: bytes) -> str | None:
        try:
            image[index] = decode(data, (height, width))
        except Exception as error:  # Pillow's plugins raise many kinds; each means that this file is unreadable
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        return None

    with (
        ThreadPoolExecutor(synthetic.cores()) as pool,
        tqdm(total=count, desc=f"decoding {split}", unit=" images", mininterval=0.5) as bar,
    ):
        for start in range(0, count, _READ_AT_ONCE):
            rows = range(start, min(start + _READ_AT_ONCE, count))
            pending = []
            for row, record in zip(rows, records.__getitems__(list(rows)), strict=True):
                identity[row], camera[row] = record["identity"], record["camera"]
                names[row] = record["name"].decode() if isinstance(record["name"], bytes) else str(record["name"])
                pending.append((row, pool.submit(fill, row, record["image"])))
            broken += [f"{names[row]} ({done.result()})" for row, done in pending if done.result() is not None]
            bar.update(len(rows))
    if broken:
        more = f" and {len(broken) - _NAMED_FILES} more" if len(broken) > _NAMED_FILES else ""
        raise InputError(
            f"{len(broken)} image(s) of {name} {split} in {pathlib.Path(data_dir)} cannot be decoded: "
            f"{'; '.join(broken[:_NAMED_FILES])}{more}; fetch or unpack these files again"
        )
    return Split(image, identity, camera, np.array(names))


def _choose_queries(camera: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Which of one identity's images are queries, bool [n]; None where no query could have a match."""
    chosen = np.zeros(len(camera), bool)
    if (camera < 0).all():  # cameras unknown: nothing is removed as same-camera, any other image is a match
        if len(camera) < 2:
            return None
        chosen[rng.integers(len(camera))] = True
        return chosen
    cameras, counts = np.unique(camera, return_counts=True)
    if len(cameras) < 2:
        return None
    for number in cameras:
        chosen[rng.choice(np.flatnonzero(camera == number))] = True
    if (counts > 1).sum() < 2:
        # The gallery would show one camera at most, and that camera's query would have no match.
        spared = rng.choice(cameras[counts == 1])
        chosen[camera == spared] = False
    return chosen


def hold_out(train: Split, identities: int, seed: int) -> tuple[Split, Split, Split]:
    """Takes whole identities out of training as a validation set: (training rest, query, gallery).

    The identities are drawn by `seed` among those that at least two cameras see. Of each of their cameras one
    image drawn by `seed` is a query, and the rest are gallery; where fewer than two cameras saw an identity
    more than once, one camera's only image stays in the gallery instead, so that every query has a match in
    another camera. Where no camera is known, an identity with two images or more gives one query.

    Raises:
      InputError: fewer than one identity asked for, or too few are there to leave two for training.
    """
    if identities < 1:
        raise InputError(f"hold_out of {identities} identities; ask for at least 1, or do not hold out")
    rng = np.random.default_rng(seed)
    order = np.argsort(train.identity, kind="stable")
    numbers, starts = np.unique(train.identity[order], return_index=True)
    rows_of = dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))
    query = np.zeros(len(train), bool)
    gallery = np.zeros(len(train), bool)
    taken = 0
    for number in rng.permutation(numbers).tolist():
        if taken == identities:
            break
        rows = rows_of[number]
        chosen = _choose_queries(train.camera[rows], rng)
        if chosen is None:
            continue
        query[rows[chosen]] = True
        gallery[rows[~chosen]] = True
        taken += 1
    if taken < identities or len(numbers) - taken < 2:
        raise InputError(
            f"cannot hold {identities} of {len(numbers)} training identities out: each needs two "
            "cameras, and two identities must stay for training; ask for fewer, or add training images"
        )
    return train.select(~(query | gallery)), train.select(query), train.select(gallery)
