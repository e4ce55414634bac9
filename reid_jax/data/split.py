"""Splits of data sets as they are stored: prepared records on disk, whose images are decoded when they are wanted."""

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from reid_jax.cpu import cores
from reid_jax.data import datasets
from reid_jax.data.builders import records
from reid_jax.data.builders.records import Prepared
from reid_jax.data.builders.source import Source
from reid_jax.data.decode import decode, undecodable
from reid_jax.data.images import Split
from reid_jax.errors import InputError
from reid_jax.progress import progress_bar, tell

_READ_AT_ONCE = 256  # records read before their decoding: bounds the encoded bytes held


class StoredSplit:
    """`Images` in prepared records: the labels are in memory, the images are decoded when they are wanted.

    Attributes:
      image_size: (height, width) that images are decoded to.
      identity, camera, tracklet, origin, name: as in `Images`.
    """

    def __init__(
        self,
        prepared: Sequence[Prepared],
        first: Sequence[Mapping[str, int]],
        image_size: tuple[int, int],
        data_dir: str,
    ):
        """Joins one split of one or several prepared sets; `first` are their offsets, see `_offsets`."""
        self.image_size = image_size
        self._data_dir = data_dir
        self._title = f"{'+'.join(joined.source.name for joined in prepared)} {prepared[0].split}"
        self._records = [joined.read() for joined in prepared]
        self._folders = [joined.folder for joined in prepared]
        lengths = [len(joined.files) for joined in prepared]
        self._starts = np.cumsum([0, *lengths])
        self._record = np.arange(self._starts[-1])  # the number of each image's record, of all joined sets
        self.origin = np.repeat(np.arange(len(prepared), dtype=np.int32), lengths)
        self.identity = self._joined("identity", prepared, first)
        self.camera = self._joined("camera", prepared, first)
        self.tracklet = self._joined("tracklet", prepared, first)
        names = []
        prefixes = _name_prefixes([joined.source.key for joined in prepared])
        for joined, prefix in zip(prepared, prefixes, strict=True):
            names += [prefix + file.name for file in joined.files]
        self.name = np.array(names)

    def _joined(self, label: str, prepared: Sequence[Prepared], first: Sequence[Mapping[str, int]]) -> np.ndarray:
        """The label of every image: in each set its own number plus the set's offset; negative ones stay."""
        parts = []
        for joined, offset in zip(prepared, first, strict=True):
            values = np.fromiter((getattr(file, label) for file in joined.files), np.int64, len(joined.files))
            parts.append(np.where(values >= 0, values + offset[label], values))
        values = np.concatenate(parts)
        if values.max() > np.iinfo(np.int32).max:
            raise InputError(f"{self._title}: {label} {values.max()} does not fit 32 bits; use smaller numbers")
        return values.astype(np.int32)

    def __len__(self) -> int:
        return len(self.identity)

    def subset(self, index: np.ndarray) -> "StoredSplit":
        """The rows that `index` (int [m], or bool [n]) names, in its order, left on disk."""
        chosen = copy.copy(self)
        for field in ("_record", "identity", "camera", "tracklet", "origin", "name"):
            setattr(chosen, field, getattr(self, field)[index])
        return chosen

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Decodes rows int [m] in this thread: uint8 [m, height, width, 3]. Errors are those of `load`."""
        return self._read(np.asarray(rows), None).image

    def select(self, index: np.ndarray) -> Split:
        """See `Images.select`; errors are those of `load`."""
        with ThreadPoolExecutor(cores()) as pool:
            return self._read(np.arange(len(self))[index], pool)

    def blocks(self, size: int, progress: str = "") -> Iterator[Split]:
        """See `Images.blocks`; decodes on all cores, the next block while the caller works on this one."""
        with (
            ThreadPoolExecutor(cores()) as pool,
            ThreadPoolExecutor(1) as ahead,
            progress_bar(len(self), progress) as bar,
        ):
            rows = [np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)]
            if not rows:
                return
            pending = ahead.submit(self._read, rows[0], pool)
            for following in [*rows[1:], None]:
                block = pending.result()
                if following is not None:
                    pending = ahead.submit(self._read, following, pool)
                yield block
                bar.update(len(block))

    def load(self) -> Split:
        """Decodes the whole split into one array.

        Raises:
          InputError: images that cannot be decoded; the first few of them are named, of all that there are.
        """
        with ThreadPoolExecutor(cores()) as pool, progress_bar(len(self), f"decoding {self._title}") as bar:
            return self._read(np.arange(len(self)), pool, bar)

    def _read(self, rows: np.ndarray, pool: ThreadPoolExecutor | None, bar: tqdm | None = None) -> Split:
        image = np.empty((len(rows), *self.image_size, 3), np.uint8)
        broken = []
        for start in range(0, len(rows), _READ_AT_ONCE):
            chunk = slice(start, start + _READ_AT_ONCE)
            broken += self._fill(pool, rows[chunk], image[chunk])
            if bar is not None:
                bar.update(len(rows[chunk]))
        if broken:
            raise InputError(undecodable(broken, f" of {self._title} in {self._data_dir}"))
        return Split(
            image, self.identity[rows], self.camera[rows], self.tracklet[rows], self.origin[rows], self.name[rows]
        )

    def _fill(self, pool: ThreadPoolExecutor | None, rows: np.ndarray, image: np.ndarray) -> list[tuple[str, str]]:
        """Decodes `rows` into `image`, in a pool of threads or in this one.

        Returns (name, what is wrong) of those that cannot be decoded.
        """

        def fill(position: int, data: bytes) -> tuple[str, str] | None:
            try:
                image[position] = decode(data, self.image_size)
            except InputError as error:
                return str(self.name[rows[position]]), str(error)
            return None

        pending = []
        record = self._record[rows]
        origin = np.searchsorted(self._starts, record, "right") - 1
        for joined in np.unique(origin):
            positions = np.flatnonzero(origin == joined)
            try:
                stored = self._records[joined].__getitems__((record[positions] - self._starts[joined]).tolist())
            except Exception as error:  # of the file format's reader, which names no kind of its own
                raise InputError(
                    f"prepared records in {self._folders[joined]} are damaged ({error}); remove that folder"
                ) from error
            encoded = (r["image"] for r in stored)
            pending += map(fill, positions, encoded) if pool is None else pool.map(fill, positions, encoded)
        return [wrong for wrong in pending if wrong is not None]


def open_splits(
    name: str, splits: Sequence[str], data_dir: str | os.PathLike, image_size: tuple[int, int]
) -> list[StoredSplit]:
    """Finds a data set and opens splits of it, see `open_sources`.

    `name` is a data set with its options, or several joined by '+', see `reid_jax.data.datasets`. Raises InputError
    for an unknown name, and as `open_sources` does.
    """
    sources = [datasets.find_source(joined, data_dir) for joined in datasets.check_name(name)]
    return open_sources(sources, splits, data_dir, image_size)


def open_sources(
    sources: Sequence[Source], splits: Sequence[str], data_dir: str | os.PathLike, image_size: tuple[int, int]
) -> list[StoredSplit]:
    """Opens splits of data sets that were found, joined in their order: records are prepared where they are missing.

    What a reader should know of the sets is said on stderr, see `Source.notes_so_far`.

    Args:
      sources: one data set, or several to join.
      splits: of 'train', 'query', 'gallery', and what else the data sets have.
      data_dir: the folder that holds the data sets, and the prepared records.
      image_size: (height, width) in pixels.

    Raises:
      InputError: an unknown split, or a missing or broken data set.
    """
    if len(image_size) != 2 or any(int(side) != side or side < 1 for side in image_size):
        raise InputError(f"image_size is {tuple(image_size)}; give (height, width) in whole pixels, such as (160, 64)")
    size = (int(image_size[0]), int(image_size[1]))
    first = _offsets(sources)
    opened = [
        StoredSplit([records.prepare(source, split, data_dir) for source in sources], first, size, os.fspath(data_dir))
        for split in splits
    ]
    for source in sources:
        for note in source.notes_so_far():
            tell(f"{source.name} in {source.location}: {note}")
    return opened


def load_split(name: str, split: str, data_dir: str | os.PathLike, image_size: tuple[int, int]) -> Split:
    """Loads a whole split into memory; arguments and errors are those of `open_splits` and `StoredSplit.load`."""
    return open_splits(name, [split], data_dir, image_size)[0].load()


def _offsets(sources: Sequence[Source]) -> list[dict[str, int]]:
    """What is added to each set's identities, cameras and tracklets, so that joined sets share no number.

    Set k is offset by the offset of set k - 1 plus that set's largest number plus 1: people 0 to 750 and 0 to 701
    become 0 to 750 and 751 to 1452.
    """
    offsets = [{"identity": 0, "camera": 0, "tracklet": 0}]
    for source in sources[:-1]:
        files = []
        # Over all splits: query and gallery must agree on the numbers, whichever of them is opened.
        for split in source.splits:
            with contextlib.suppress(InputError):  # a split that is not there has no numbers, and cannot be opened
                files += source.files(split)
        offsets.append(
            {
                label: offset + 1 + max((getattr(file, label) for file in files), default=-1)
                for label, offset in offsets[-1].items()
            }
        )
    return offsets


def _name_prefixes(keys: Sequence[str]) -> list[str]:
    """What tells the names of joined sets apart: the set's, with its position where the same one is joined twice."""
    if len(keys) == 1:
        return [""]
    return [f"{key}/" if keys.count(key) == 1 else f"{key}.{position + 1}/" for position, key in enumerate(keys)]
