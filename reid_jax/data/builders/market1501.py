"""Market-1501 as TFDS records: official folder or zip in, ArrayRecord files out, without TensorFlow.

Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015. Any other set written in the same
layout, such as the synthetic people, is read by the same builder.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from reid_jax.errors import InputError

NAME = "market1501"
SPLIT_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
FOLDERS = ("Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15", "Market-1501", "market1501")
ARCHIVES = ("Market-1501-v15.09.15.zip", "market1501/Market-1501-v15.09.15.zip", "market1501.zip")
JUNK = -1  # detections that overlap a person badly: the protocol drops them
DISTRACTOR = 0  # detections of nobody in the query set: they stay in the gallery

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_NAME_PATTERN = re.compile(
    r"(?P<identity>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+(?:\.\w+)+"
)  # six official query files end in .jpg.jpg
_RECORDS_VERSION = "1.0.0"


def parse_name(name: str) -> tuple[int, int] | None:
    """(identity, camera) of a file name such as '0002_c1s1_000451_03.jpg'; None where it does not match."""
    match = _NAME_PATTERN.fullmatch(name)
    return None if match is None else (int(match["identity"]), int(match["camera"]))


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One image file of a source: its name relative to the set's folder, what that says, and its stamp."""

    name: str
    identity: int
    camera: int
    size: int  # bytes
    stamp: int  # changes with the content: modification time in ns, or the zip's CRC-32


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a set was found: a folder, or a zip and the folder inside it that holds the three splits."""

    path: pathlib.Path
    inside_zip: str | None = None

    def location(self, split: str) -> str:
        """The split's folder as an error message names it."""
        inside = "" if self.inside_zip is None else self.inside_zip
        return str(self.path / inside / SPLIT_FOLDERS[split])

    @functools.cached_property
    def _zip_members(self) -> dict[str, list[tuple[str, int, int]]]:
        members: dict[str, list[tuple[str, int, int]]] = {}
        with _open_zip(self.path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    folder, _, name = info.filename.rpartition("/")
                    members.setdefault(folder + "/", []).append((name, info.file_size, info.CRC))
        return members

    def _entries(self, split: str) -> list[tuple[str, int, int]] | None:
        """(name, size, stamp) of every file of the split's folder; None where there is no such folder."""
        if self.inside_zip is not None:
            return self._zip_members.get(f"{self.inside_zip}{SPLIT_FOLDERS[split]}/")
        folder = self.path / SPLIT_FOLDERS[split]
        if not folder.is_dir():
            return None
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():
                    status = entry.stat()
                    found.append((entry.name, status.st_size, status.st_mtime_ns))
        return found

    def files(self, split: str) -> list[SourceFile]:
        """The split's image files sorted by name, junk included; files of other kinds are ignored.

        Raises:
          InputError: the folder is missing or holds no image, or an image's name does not match.
        """
        entries = self._entries(split)
        if entries is None:
            raise InputError(
                f"Market-1501 layout: folder {self.location(split)} is missing; "
                f"unpack the official zip again, it holds {', '.join(SPLIT_FOLDERS.values())}"
            )
        files, strangers = [], []
        for name, size, stamp in sorted(entries):
            if not name.lower().endswith(_IMAGE_ENDINGS) or name.startswith("._"):
                continue
            told = parse_name(name)
            if told is None:
                strangers.append(name)
                continue
            files.append(SourceFile(f"{SPLIT_FOLDERS[split]}/{name}", *told, size, stamp))
        if strangers:
            raise InputError(
                f"{len(strangers)} image name(s) in {self.location(split)} do not look like "
                f"'0002_c1s1_000451_03.jpg', the first is {strangers[0]!r}; rename or remove them"
            )
        if not files:
            raise InputError(
                f"folder {self.location(split)} holds no image; unpack the official zip again, "
                f"or give the data_dir that holds the full set"
            )
        return files

    @contextlib.contextmanager
    def reader(self) -> Iterator:
        """Yields a function from a file's name to its bytes."""
        if self.inside_zip is None:
            yield lambda name: (self.path / name).read_bytes()
            return
        with _open_zip(self.path) as archive:

            def read(name: str) -> bytes:
                try:
                    return archive.read(self.inside_zip + name)
                except (zipfile.BadZipFile, OSError, EOFError) as error:
                    raise InputError(
                        f"{self.path}: member {self.inside_zip + name} is damaged ({error}); fetch the zip again"
                    ) from error

            yield read


def _open_zip(path: pathlib.Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} cannot be read as a zip ({error}); fetch it again or unpack it by hand") from error


def _folder_source(path: pathlib.Path) -> Source | None:
    if any((path / folder).is_dir() for folder in SPLIT_FOLDERS.values()):
        # 'query' alone is too common a name to call a folder Market-1501 by it.
        if not (path / SPLIT_FOLDERS["train"]).is_dir() and not (path / SPLIT_FOLDERS["gallery"]).is_dir():
            return None
        return Source(path)
    return None


def _zip_source(path: pathlib.Path) -> Source | None:
    with _open_zip(path) as archive:
        names = archive.namelist()
    for name in names:
        parts = name.split("/")
        if parts[0] != "__MACOSX" and len(parts) >= 2 and parts[-2] == SPLIT_FOLDERS["train"]:
            return Source(path, "".join(f"{part}/" for part in parts[:-2]))
    raise InputError(
        f"{path} holds no folder {SPLIT_FOLDERS['train']}: it is not Market-1501; give the official zip or folder"
    )


def find_source(data_dir: str | os.PathLike) -> Source:
    """Finds the set in `data_dir`: that folder itself, a usual name below it, or the official zip.

    Raises:
      InputError: nothing found; the message names every place looked at.
    """
    base = pathlib.Path(data_dir).expanduser()
    if base.is_file():
        if base.suffix.lower() != ".zip":
            raise InputError(f"data_dir {str(base)!r} is a file but not a zip; give a folder or the official zip")
        return _zip_source(base)
    for folder in (".", *FOLDERS):
        source = _folder_source(base / folder)
        if source is not None:
            return source
    for archive in ARCHIVES:
        if (base / archive).is_file():
            return _zip_source(base / archive)
    looked = ", ".join(str(base / place) for place in (".", *FOLDERS, *ARCHIVES))
    raise InputError(
        f"Market-1501 not found; looked at {looked}; download Market-1501-v15.09.15.zip from its authors "
        f"and put the zip, or the unpacked folder, into {base}"
    )


class Market1501(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder of Market-1501: splits train, query and gallery of encoded images, identities and cameras.

    Records keep the file's own bytes, the data set's own identity numbers, the camera number and the file's
    name, in the order of the sorted names. Junk (identity -1) is left out, distractors (0) are kept.
    """

    VERSION = tfds.core.Version(_RECORDS_VERSION)
    RELEASE_NOTES = {_RECORDS_VERSION: "Market-1501-v15.09.15."}
    # Nothing is downloaded, so no checksums are looked up: that would import a package TFDS does not require.
    url_infos = {}

    def __init__(self, *, source: Source | None = None, **kwargs):
        self._source = source
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "identity": tfds.features.Scalar(np.int32),
                    "camera": tfds.features.Scalar(np.int32),
                    "name": tfds.features.Text(),
                }
            ),
            description="Market-1501: people seen by six cameras on a campus.",
            homepage="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # users bring the files: nothing is downloaded
        return {split: self._generate_examples(split) for split in SPLIT_FOLDERS}

    def _generate_examples(self, split: str):
        files = [file for file in self._source.files(split) if file.identity != JUNK]
        with self._source.reader() as read:
            for index, file in enumerate(tqdm(files, desc=f"preparing {split}", unit=" images", mininterval=0.5)):
                yield (
                    index,
                    {
                        "image": read(file.name),
                        "identity": file.identity,
                        "camera": file.camera,
                        "name": file.name,
                    },
                )


def records_folder(source: Source, data_dir: str | os.PathLike) -> pathlib.Path:
    """The folder of `source`'s prepared records: its name is a digest of every file's name, size and stamp.

    A source that changes gets another folder, so that stale records never answer for it.
    """
    digest = hashlib.sha256(f"{NAME} {_RECORDS_VERSION}".encode())
    for split in SPLIT_FOLDERS:
        for file in source.files(split):
            digest.update(f"\n{file.name} {file.size} {file.stamp}".encode())
    base = pathlib.Path(data_dir).expanduser()
    base = base.parent if base.is_file() else base
    return base / "prepared" / f"{NAME}-{digest.hexdigest()[:16]}"


def _open_records(folder: pathlib.Path) -> Market1501 | None:
    """The builder over finished records; None where they are missing or incomplete."""
    if not folder.is_dir():
        return None
    builder = Market1501(data_dir=folder)
    splits = builder.info.splits
    whole = all(split in splits and all(map(os.path.isfile, splits[split].filepaths)) for split in SPLIT_FOLDERS)
    return builder if whole else None


def prepare(data_dir: str | os.PathLike) -> tfds.core.DatasetBuilder:
    """Returns the builder over prepared records, and prepares them first where they are missing.

    Records are written into a temporary folder beside their place, then renamed: an interrupted preparation
    leaves nothing that a later run reads.

    Raises:
      InputError: the set is missing or broken, or `data_dir` cannot be written.
    """
    source = find_source(data_dir)
    target = records_folder(source, data_dir)
    ready = _open_records(target)
    if ready is not None:
        return ready
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise InputError(
            f"cannot write prepared records to {target.parent} ({error.strerror}); "
            "make it writable, or link the set into a folder that is"
        ) from error
    try:
        # TFDS prints its own notes to stdout, which belongs to the command's result.
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):
            Market1501(source=source, data_dir=temporary).download_and_prepare()
        shutil.rmtree(temporary / "downloads", ignore_errors=True)  # TFDS makes it; nothing is downloaded
        temporary.chmod(0o755)
        # Another process may have finished the same records meanwhile: then theirs serve as well.
        if target.exists() and _open_records(target) is None:
            shutil.rmtree(target)  # files were taken out of it since
        with contextlib.suppress(OSError):
            os.rename(temporary, target)
    except OSError as error:
        raise InputError(f"cannot prepare records in {target.parent}: {error}; check space and rights") from error
    finally:
        tfds.enable_progress_bar()
        shutil.rmtree(temporary, ignore_errors=True)
    ready = _open_records(target)
    if ready is None:
        raise InputError(f"prepared records could not be moved to {target}; check the rights of {target.parent}")
    return ready
