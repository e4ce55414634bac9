"""The TFDS builder: a split's images and labels in, ArrayRecord files out, without TensorFlow."""

import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from reid_jax.data.builders.source import ImageFile, Source, drop_junk
from reid_jax.errors import InputError, disk_failure
from reid_jax.files import leftovers
from reid_jax.files.json_files import read_json
from reid_jax.files.writing import new_folder
from reid_jax.progress import progress_bar

_VERSION = "2.0.0"
_PART_BYTES = 2**29  # of images that are written as one split of TFDS
_LEAST_BYTES = 2**12  # that an image counts for: those that are drawn say no size
_SIZES = "sizes.json"  # in the records' folder: the bytes of each of its files, so that a file cut short is noticed
_ORIGIN = "origin.json"  # likewise: which split of which source it holds; last changed when last used


class _Info(tfds.core.DatasetInfo):
    """Facts that are never downloaded: TFDS would leave an empty temporary folder each time it is about to try."""

    def initialize_from_bucket(self) -> None:
        """Does nothing."""


class PersonImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder of one split of any data set: encoded images with identity, camera, tracklet and name.

    Records keep the file's own bytes and the data set's own numbers, in the order of the source; junk is left out.
    """

    VERSION = tfds.core.Version(_VERSION)
    RELEASE_NOTES = {_VERSION: "Tracklets; any data set."}
    # Nothing is downloaded, so no checksums are looked up: that would import a package TFDS does not require.
    url_infos = {}

    def __init__(
        self, *, source: Source | None = None, split: str = "", files: Sequence[ImageFile] = (), **kwargs: Any
    ):
        """`source` and the `files` kept of its `split` are needed to prepare, not to read what is prepared."""
        self._source, self._split, self._files = source, split, files
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "identity": tfds.features.Scalar(np.int64),
                    "camera": tfds.features.Scalar(np.int64),
                    "tracklet": tfds.features.Scalar(np.int64),
                    "name": tfds.features.Text(),
                }
            ),
            description=self._source.description if self._source else "",
            homepage=self._source.homepage if self._source else "",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # users bring the files: nothing is downloaded
        parts = _parts(self._files)
        names = [self._split] if len(parts) == 1 else [f"{self._split}_{number}" for number in range(len(parts))]
        return {name: self._generate_examples(part, name) for name, part in zip(names, parts, strict=True)}

    def _generate_examples(self, files, name):
        title = f"preparing {self._source.key} {name}"
        with self._source.reader() as read, progress_bar(len(files), title) as bar:
            for index, file in enumerate(files):
                image = read(file.name)
                if not image:
                    raise InputError(
                        f"{self._source.location}: {file.name} is empty (0 bytes); fetch or unpack it again"
                    )
                yield (
                    index,
                    {
                        "image": image,
                        "identity": file.identity,
                        "camera": file.camera,
                        "tracklet": file.tracklet,
                        "name": file.name,
                    },
                )
                bar.update()


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The records of one split, ready to read, and its files in their order."""

    source: Source
    split: str
    builder: PersonImages
    files: list[ImageFile]
    folder: pathlib.Path

    def read(self) -> Any:
        """The records as a random-access sequence; the images stay encoded."""
        names = [self.split] if self.split in self.builder.info.splits else list(self.builder.info.splits)
        names.sort(key=lambda name: int(name.rpartition("_")[2]) if len(names) > 1 else 0)
        return self.builder.as_data_source("+".join(names), decoders={"image": tfds.decode.SkipDecoding()})


def prepare(source: Source, split: str, data_dir: str | os.PathLike) -> Prepared:
    """Returns the records of a split in `data_dir`/prepared, and writes them first where they are missing.

    The records' folder is named by a digest of every file's name, labels, size and stamp: a source that changes gets
    another folder, so that stale records never answer for it (`prune` takes them away). Records are written into a
    temporary folder beside their place, then renamed: an interrupted preparation leaves nothing that a later run reads.

    Raises:
      InputError: the source has no such split or is broken, or `data_dir` cannot be written.
    """
    if split not in source.splits:
        raise InputError(f"{source.name} has no split {split!r}; it has {', '.join(source.splits)}")
    files = list(drop_junk(source.files(split)))
    if not files:
        raise InputError(f"{source.name}: all of {split} is junk (identity -1); give the whole set")
    target = _folder(source, split, files, data_dir)
    ready = _open_records(target)
    if ready is None:
        _write_records(source, split, files, target)
        ready = _open_records(target)
    if ready is None:
        raise InputError(f"prepared records could not be moved to {target}; check the rights of {target.parent}")
    with contextlib.suppress(OSError):  # records that others own are read all the same
        (target / _ORIGIN).write_text(json.dumps(_origin(source, split, target.parent)))
    return Prepared(source, split, ready, files, target)


def prune(data_dir: str | os.PathLike) -> list[tuple[pathlib.Path, str, int]]:
    """Removes what nothing will read from `data_dir`/prepared: [(folder, why, bytes)].

    That is the temporary folders of dead processes, and records of an older version of their source: of several folders
    for the same split of the same source at the same place, all but the one used last. Records without `origin.json`,
    which none had once, stay until they are used and have it.
    """
    base = _records_in(data_dir)
    pruned = [(folder, "left by a process that has died", size) for folder, size in leftovers.sweep(base, "*-*")]
    versions = collections.defaultdict(list)
    for path in base.glob(f"*/{_ORIGIN}"):
        with contextlib.suppress(OSError, ValueError):
            versions[json.dumps(json.loads(path.read_text()))].append((path.stat().st_mtime_ns, path.parent))
    for folders in versions.values():
        for _, folder in sorted(folders)[:-1]:
            size = leftovers.size_of(folder)
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                pruned.append((folder, "of an older version of its source", size))
    return pruned


def _parts(files: Sequence[ImageFile]) -> list[Sequence[ImageFile]]:
    """The files in their order, cut so that each part can be written.

    TFDS keeps what it writes of a split in memory, and beyond a gigabyte in files that only TensorFlow opens.
    """
    part = np.cumsum([max(file.size, _LEAST_BYTES) for file in files]) // _PART_BYTES
    bounds = np.flatnonzero(np.diff(part)) + 1
    return [files[begin:end] for begin, end in zip([0, *bounds], [*bounds, len(files)], strict=True)]


def _origin(source: Source, split: str, base: pathlib.Path) -> dict[str, str]:
    """What records of all versions of one split share; its place relative to theirs, as a disk may be mounted anew."""
    return {"source": source.name, "split": split, "location": os.path.relpath(source.location, base)}


def _folder(source: Source, split: str, files: list[ImageFile], data_dir: str | os.PathLike) -> pathlib.Path:
    digest = hashlib.sha256(f"{source.key} {split} {_VERSION}".encode())
    for file in files:
        facts = (file.name, file.identity, file.camera, file.tracklet, file.size, file.stamp)
        digest.update("\n{} {} {} {} {} {}".format(*facts).encode())
    return _records_in(data_dir) / f"{source.key}-{split}-{digest.hexdigest()[:16]}"


def _records_in(data_dir: str | os.PathLike) -> pathlib.Path:
    """The folder that holds the records of all data sets in `data_dir`."""
    base = pathlib.Path(os.path.expanduser(data_dir))
    return (base.parent if base.is_file() else base) / "prepared"


def _open_records(folder: pathlib.Path) -> PersonImages | None:
    """The builder over finished records; None where there are none, or files of it are missing or cut short."""
    try:
        sizes = read_json(folder / _SIZES)
        whole = bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (AttributeError, OSError, ValueError):
        return None
    return PersonImages(data_dir=folder) if whole else None


def _write_records(source: Source, split: str, files: list[ImageFile], target: pathlib.Path) -> None:
    try:
        with new_folder(target, lambda folder: _open_records(folder) is not None) as temporary:
            # TFDS prints its own notes to stdout, which belongs to the command's result.
            tfds.disable_progress_bar()
            with contextlib.redirect_stdout(io.StringIO()):
                PersonImages(source=source, split=split, files=files, data_dir=temporary).download_and_prepare()
            shutil.rmtree(temporary / "downloads", ignore_errors=True)  # TFDS makes it; nothing is downloaded
            files_written = [file for file in temporary.rglob("*") if file.is_file() and file.name != leftovers.OWNER]
            sizes = {file.relative_to(temporary).as_posix(): file.stat().st_size for file in files_written}
            (temporary / _SIZES).write_text(json.dumps(sizes))
    except (OSError, RuntimeError) as error:  # the latter from ArrayRecord
        reason = disk_failure(error) or getattr(error, "strerror", None)
        if reason is None:
            raise
        raise InputError(
            f"cannot write prepared records to {target.parent}: {reason}; "
            "make room there, make it writable, or link the set into a folder that is"
        ) from error
    finally:
        tfds.enable_progress_bar()
