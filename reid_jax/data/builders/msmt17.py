"""MSMT17 (Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person Re-Identification", CVPR 2018).

There are two versions of the images: in V2 faces are masked, and numbers measured on one say nothing of the other.
The training images come in two lists, train (30,248) and val (2,373) of the same 1,041 people. The authors' own count,
32,621, joins them; torchreid and FastReID train on the 30,248 by default. The set's full name, which is
printed with every result, says both.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence

from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.finding import NotThere, find_tree
from reid_jax.data.builders.listed import listed_entries, read_lines
from reid_jax.data.builders.options import full_name, parse_options
from reid_jax.data.builders.source import GALLERY, QUERY, TRAIN, Counts, ImageFile, Source
from reid_jax.errors import InputError, first_few, shown

NAME = "msmt17"
FOUND = 0  # the version that is there
TITLES = {1: "MSMT17_V1", 2: "MSMT17_V2"}
FOLDERS_OF = {1: {TRAIN: "train", "test": "test"}, 2: {TRAIN: "mask_train_v2", "test": "mask_test_v2"}}
LISTS = {TRAIN: "list_train.txt", "val": "list_val.txt", QUERY: "list_query.txt", GALLERY: "list_gallery.txt"}

_ADVICE = "take the lists and the images from the same download of the set"
_EXPECTED = {
    (TRAIN, "train"): Counts(32621, 1041, 15),
    (TRAIN, "drop"): Counts(30248, 1041, 15),
    QUERY: Counts(11659, 3060, 15),
    GALLERY: Counts(82161, 3060, 15),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What may stand behind the name: the version, needed where both are there, and what becomes of list_val.txt.

    val='train' joins it to training: 32,621 images; 'drop' leaves it out: 30,248.
    """

    version: int = dataclasses.field(default=FOUND, metadata={"choices": (1, 2)})
    val: str = dataclasses.field(default="train", metadata={"choices": ("train", "drop")})


class Msmt17(Source):
    """The images that the four lists name."""

    test_numbered_apart = True  # both begin at 0
    description = "MSMT17: people seen by fifteen cameras, indoors and outdoors, in four days."
    homepage = "https://www.pkuvmc.com/dataset.html"

    def __init__(self, tree: FileTree, options: Options):
        """`tree` is the set's folder; `options` name the version that it is."""
        self.name, self.location = full_name(NAME, options), tree.location()
        self._tree, self._options = tree, options

    def list_files(self, split: str) -> list[ImageFile]:
        """See `Source.files`; a list that names missing images, or one image twice, is an error."""
        if split != TRAIN:
            return self._listed([LISTS[split]], FOLDERS_OF[self._options.version]["test"])
        lists = [LISTS[TRAIN], LISTS["val"]] if self._options.val == "train" else [LISTS[TRAIN]]
        return self._listed(lists, FOLDERS_OF[self._options.version][TRAIN])

    def expected(self, split: str) -> Counts | None:
        """The published counts."""
        return _EXPECTED[(TRAIN, self._options.val) if split == TRAIN else split]

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """See `Source.reader`."""
        return self._tree.reader()

    def _listed(self, lists: list[str], folder: str) -> list[ImageFile]:
        labels: dict[str, tuple[int, int]] = {}
        twice = []
        for name in lists:
            for path, identity, camera in self._read_list(name):
                path = f"{folder}/{path}"
                if path in labels:
                    twice.append(path)
                labels[path] = (identity, camera)
        where = self._tree.location(" and ".join(lists))
        if twice:
            raise InputError(f"{where} names {len(twice)} image(s) more than once: {first_few(twice)}; {_ADVICE}")
        names = sorted(labels)
        entries = listed_entries(self._tree, names, where, _ADVICE)
        files = [ImageFile.of(entry, *labels[name]) for entry, name in zip(entries, names, strict=True)]
        return sorted(files, key=lambda file: file.name)

    def _read_list(self, name: str) -> list[tuple[str, int, int]]:
        """(path, identity, camera) of each line."""
        advice = _ADVICE
        if name == LISTS["val"]:
            advice = f"{_ADVICE}, or train without it: {NAME}:version={self._options.version},val=drop"
        rows = []
        for number, line in read_lines(self._tree, name, advice):
            path, _, identity = line.replace("\t", " ").rpartition(" ")
            camera = path.replace("\\", "/").rpartition("/")[2].split("_")[2:3]  # some lists were written on Windows
            if not (_whole(identity) and camera and _whole(camera[0])):
                raise InputError(
                    f"{self._tree.location(name)} line {number} is {shown(line)!r}; it should be a path and an "
                    "identity, such as '0000/0000_000_01_0303morning_0008_0.jpg 0', whose third field is the camera; "
                    f"{_ADVICE}"
                )
            rows.append((path.strip(), int(identity), int(camera[0])))
        return rows


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10  # labels are kept in 32 bits


def find(name: str, data_dir: str | os.PathLike) -> Msmt17:
    """Finds the set that `name`, 'msmt17' with options, means.

    Raises:
      InputError: it is not there, or both versions are and `name` does not say which is meant.
    """
    options = parse_options(Options, name)
    wanted = list(TITLES) if options.version == FOUND else [options.version]
    found = _find_versions(wanted, data_dir)
    if len(found) > 1:
        places = ", ".join(f"{tree.location()} ({NAME}:version={version})" for version, tree in found.items())
        raise InputError(
            f"data set {name!r}: both versions of MSMT17 are there, {places}; name the one that is meant, "
            "for their numbers are not interchangeable"
        )
    for version, tree in found.items():
        return Msmt17(tree, dataclasses.replace(options, version=version))
    # Once more, for the error: it tells where was looked, and what is there instead.
    found = _find_versions([version for version in TITLES if version not in wanted], data_dir)
    others = "".join(f"{tree.location()} is {TITLES[other]}, {NAME}:version={other}; " for other, tree in found.items())
    return Msmt17(_find_tree(wanted, data_dir, others), options)


def _find_versions(versions: Sequence[int], data_dir: str | os.PathLike) -> dict[int, FileTree]:
    """The folders of those of the versions that are there."""
    found = {}
    for version in versions:
        with contextlib.suppress(NotThere):
            found[version] = _find_tree([version], data_dir)
    return found


def _find_tree(versions: list[int], data_dir: str | os.PathLike, others: str = "") -> FileTree:
    """The folder of one of these versions; `others` begins the advice where there is none."""
    titles = [TITLES[version] for version in versions]
    parents = ("", "msmt17/", "MSMT17/")
    return find_tree(
        data_dir,
        title=" or ".join(titles),
        is_root=lambda tree: any(_is_root(tree, version) for version in versions),
        # Some unpack the zip into a folder of its own name.
        folders=[f"{parent}{title}{child}" for title in titles for parent in parents for child in ("", f"/{title}")]
        + ["msmt17", "MSMT17"],
        archives=[f"{parent}{title}.zip" for title in titles for parent in (*parents, "msmt17/raw/")],
        advice=f"{others}ask its authors for MSMT17 and put the zip, or the unpacked folder, into {data_dir}",
    )


def _is_root(tree: FileTree, version: int) -> bool:
    folders = FOLDERS_OF[version].values()
    if version == 2:
        return any(map(tree.has_folder, folders))
    # 'train' and 'test' alone are too common to call a folder MSMT17 by them.
    named = tree.location().rstrip("/").rpartition("/")[2].lower().startswith(NAME)
    return any(map(tree.has_folder, folders)) and (named or any(map(tree.has_file, LISTS.values())))
