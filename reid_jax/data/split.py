"""A split of a data set: in memory, or on disk and decoded when asked for; both give labels, rows and blocks."""

import contextlib
import dataclasses
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
from reid_jax.data.decode import decode
from reid_jax.errors import InputError, first_few
from reid_jax.progress import progress_bar, tell

_READ_AT_ONCE = 256  # records read before their decoding: bounds the encoded bytes held


@dataclasses.dataclass(frozen=True)
class Split:
    """Images of one split and what is known about each; all arrays share their first axis [n].

    image: uint8 [n, height, width, 3], RGB.
    identity: int32 [n], the data set's own numbers (0 is a distractor in Market-1501's gallery).
    camera: int32 [n], -1 where unknown.
    tracklet: int32 [n], frames of one video snippet share a number; -1 for a still image.
    origin: int32 [n], which of the joined data sets it is from, counted from 0.
    name: str [n], the path relative to the data set's folder, '/' separated.
    """

    image: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    tracklet: np.ndarray
    origin: np.ndarray
    name: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)

    def select(self, index: np.ndarray) -> "Split":
        """The rows that `index` (int [m], or bool [n]) names, in its order."""
        return Split(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def blocks(self, size: int, progress: str = "") -> Iterator["Split"]:
        """Consecutive parts of `size` rows, the last one shorter; `progress` names a bar on stderr."""
        with progress_bar(len(self), progress) as bar:
            for start in range(0, len(self), size):
                part = self.select(np.arange(start, min(start + size, len(self))))
                yield part
                bar.update(len(part))


class StoredSplit:
    """A split in prepared records: labels as in `Split` in memory, images decoded when asked for.

    Attributes:
      image_size: (height, width) that images are decoded to.
      identity, camera, tracklet, origin, name: as in `Split`.
    """

    def __init__(
        self,
        prepared: Sequence[Prepared],
        first: Sequence[Mapping[str, int]],
        image_size: tuple[int, int],
        data_dir: str,
    ):
        """Joins one split of one or several prepared sets; `first` is where each one's numbers begin, by label."""
        self.image_size = image_size
        self._data_dir = data_dir
        self._title = f"{'+'.join(one.source.name for one in prepared)} {prepared[0].split}"
        self._records = [one.read() for one in prepared]
        self._folders = [one.folder for one in prepared]
        lengths = [len(one.files) for one in prepared]
        self._starts = np.cumsum([0, *lengths])
        self.origin = np.repeat(np.arange(len(prepared), dtype=np.int32), lengths)
        self.identity = self._joined("identity", prepared, first)
        self.camera = self._joined("camera", prepared, first)
        self.tracklet = self._joined("tracklet", prepared, first)
        names = []
        for one, prefix in zip(prepared, _name_prefixes([one.source.key for one in prepared]), strict=True):
            names += [prefix + file.name for file in one.files]
        self.name = np.array(names)

    def _joined(self, label: str, prepared: Sequence[Prepared], first: Sequence[Mapping[str, int]]) -> np.ndarray:
        parts = []
        for one, start in zip(prepared, first, strict=True):
            values = np.fromiter((getattr(file, label) for file in one.files), np.int64, len(one.files))
            parts.append(np.where(values >= 0, values + start[label], values))
        joined = np.concatenate(parts)
        if joined.max() > np.iinfo(np.int32).max:
            raise InputError(f"{self._title}: {label} {joined.max()} does not fit 32 bits; use smaller numbers")
        return joined.astype(np.int32)

    def __len__(self) -> int:
        return len(self.identity)

    def select(self, index: np.ndarray) -> Split:
        """Decodes the rows that `index` (int [m], or bool [n]) names, in its order; see `load` for errors."""
        with ThreadPoolExecutor(cores()) as pool:
            return self._read(np.arange(len(self))[index], pool)

    def blocks(self, size: int, progress: str = "") -> Iterator[Split]:
        """Decodes consecutive parts of `size` rows on all cores, the next one while this one is worked on."""
        with (
            ThreadPoolExecutor(cores()) as pool,
            ThreadPoolExecutor(1) as ahead,
            progress_bar(len(self), progress) as bar,
        ):
            rows = [np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)]
            pending = ahead.submit(self._read, rows[0], pool)
            for following in [*rows[1:], None]:
                part = pending.result()
                if following is not None:
                    pending = ahead.submit(self._read, following, pool)
                yield part
                bar.update(len(part))

    def load(self) -> Split:
        """Decodes the whole split into one array.

        Raises:
          InputError: images that cannot be decoded; the first few of them are named, of all that there are.
        """
        with ThreadPoolExecutor(cores()) as pool, progress_bar(len(self), f"decoding {self._title}") as bar:
            return self._read(np.arange(len(self)), pool, bar)

    def _read(self, rows: np.ndarray, pool: ThreadPoolExecutor, bar: tqdm | None = None) -> Split:
        image = np.empty((len(rows), *self.image_size, 3), np.uint8)
        broken = []
        for start in range(0, len(rows), _READ_AT_ONCE):
            some = slice(start, start + _READ_AT_ONCE)
            broken += self._fill(pool, rows[some], image[some])
            if bar is not None:
                bar.update(len(rows[some]))
        if broken:
            raise InputError(
                f"{len(broken)} image(s) of {self._title} in {self._data_dir} cannot be decoded: "
                f"{first_few(broken, '; ')}; fetch or unpack these files again"
            )
        return Split(
            image, self.identity[rows], self.camera[rows], self.tracklet[rows], self.origin[rows], self.name[rows]
        )

    def _fill(self, pool: ThreadPoolExecutor, rows: np.ndarray, image: np.ndarray) -> list[str]:
        """Decodes `rows` into `image` and returns what is wrong with those that cannot be."""

        def fill(place: int, data: bytes) -> str | None:
            try:
                image[place] = decode(data, self.image_size)
            except InputError as error:
                return f"{self.name[rows[place]]} ({error})"
            return None

        pending = []
        part = np.searchsorted(self._starts, rows, "right") - 1
        for number in np.unique(part):
            places = np.flatnonzero(part == number)
            try:
                found = self._records[number].__getitems__((rows[places] - self._starts[number]).tolist())
            except Exception as error:  # of the file format's reader, which names no kind of its own
                raise InputError(
                    f"prepared records in {self._folders[number]} are damaged ({error}); remove that folder"
                ) from error
            pending += [pool.submit(fill, place, record["image"]) for place, record in zip(places, found, strict=True)]
        return [wrong for task in pending if (wrong := task.result()) is not None]


Images = Split | StoredSplit  # what evaluation and pictures take


def open_splits(
    name: str, splits: Sequence[str], data_dir: str | os.PathLike, image_size: tuple[int, int]
) -> list[StoredSplit]:
    """Opens splits of a data set: records are prepared where they are missing, and images decoded when asked for.

    What a reader should know of the set is told on stderr, see `Source.notes_so_far`.

    Args:
      name: a data set with its options, or several joined by '+'; see `reid_jax.data.datasets`.
      splits: of 'train', 'query', 'gallery', and what else the data set has.
      data_dir: the folder that holds the data sets.
      image_size: (height, width) in pixels.

    Raises:
      InputError: unknown name or split, or a missing or broken data set.
    """
    if len(image_size) != 2 or any(int(side) != side or side < 1 for side in image_size):
        raise InputError(f"image_size is {tuple(image_size)}; give (height, width) in whole pixels, such as (160, 64)")
    size = (int(image_size[0]), int(image_size[1]))
    sources = [datasets.find_source(one, data_dir) for one in datasets.check_name(name)]
    first = _first_numbers(sources)
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


def _first_numbers(sources: Sequence[Source]) -> list[dict[str, int]]:
    """Where each set's numbers begin, so that joined sets share none: after those of the sets before it."""
    first = [{"identity": 0, "camera": 0, "tracklet": 0}]
    for source in sources[:-1]:
        listed = []
        # Over all splits: query and gallery must agree on the numbers, whichever of them is opened.
        for split in source.splits:
            with contextlib.suppress(InputError):  # a split that is not there has no numbers, and cannot be opened
                listed += source.files(split)
        first.append(
            {
                label: start + 1 + max((getattr(file, label) for file in listed), default=-1)
                for label, start in first[-1].items()
            }
        )
    return first


def _name_prefixes(keys: Sequence[str]) -> list[str]:
    """What tells the names of joined sets apart: the set's, with its place where the same one is joined twice."""
    if len(keys) == 1:
        return [""]
    return [f"{key}/" if keys.count(key) == 1 else f"{key}.{place + 1}/" for place, key in enumerate(keys)]
