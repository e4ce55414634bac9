"""CUHK03 (Li et al., "DeepReID: Deep Filter Pairing Neural Network for Person Re-identification", CVPR 2014).

Two protocols, each with boxes of a detector ('detected') or drawn by hand ('labelled'):
- new (Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017): 767 people train,
  700 test; two queries a person, one of each camera, and the other images of these people are the gallery.
- classic: 20 splits of 100 test people; all others train. Every image of the test people is a query and in the
  gallery; the published figure is rank-1 with a single gallery image a person, averaged over draws and over the 20
  splits, which is the evaluation's affair. The paper trains on 1,160 of the 1,360 people of its first three camera
  pairs and keeps 100 to validate; the released file has 1,467 people in five pairs, and torchreid, as we do, trains on
  the 1,367 that are not tested.

Images are read from the folders that torchreid extracts (`images_detected/1_001_1_01.png`), from the released
cuhk-03.mat, or, for the new protocol alone, from CUHK03-NP's folders in Market-1501's layout; `cuhk03_images` reads the
former two, and says how identities and cameras are numbered.
"""

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Callable

import numpy as np

from reid_jax.data.builders.cuhk03_images import (
    IMAGE_FOLDERS,
    PEOPLE,
    RELEASE_ADVICE,
    SPELT,
    ExtractedImages,
    MatImages,
    camera_of,
    parse_name,
)
from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.finding import find_tree
from reid_jax.data.builders.matlab import read_mat, whole_numbers
from reid_jax.data.builders.options import full_name, parse_options
from reid_jax.data.builders.source import GALLERY, QUERY, TRAIN, Counts, ImageFile, Source
from reid_jax.data.builders.split_folders import FOLDER_OF, SplitFolders
from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.json_text import parse_json

NAME = "cuhk03"
MAT_FILES = ("cuhk-03.mat", "cuhk03_release/cuhk-03.mat")
FOLDERS = ("cuhk03", "CUHK03", "cuhk03_release")
FOLDERS_NP = ("cuhk03-np", "CUHK03-NP", "cuhk03/cuhk03-np", "cuhk03_np", "CUHK03_np", "CUHK03_NP")
ARCHIVES = ("cuhk03_release.zip", "cuhk03/cuhk03_release.zip")
ARCHIVES_NP = ("cuhk03-np.zip", "CUHK03-NP.zip")

_CONFIG_ADVICE = (
    "take it from evaluation/data/CUHK03 of https://github.com/zhunzhong07/person-re-ranking, into the set's folder"
)
_EXPECTED_NEW = {
    ("detected", TRAIN): Counts(7365, 767, 10),
    ("detected", QUERY): Counts(1400, 700, 10),
    ("detected", GALLERY): Counts(5332, 700, 10),
    ("labelled", TRAIN): Counts(7368, 767, 10),
    ("labelled", QUERY): Counts(1400, 700, 10),
    ("labelled", GALLERY): Counts(5328, 700, 10),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What may stand behind the name: 'cuhk03:images=labelled', 'cuhk03:protocol=classic,split=7'."""

    protocol: str = dataclasses.field(default="new", metadata={"choices": ("new", "classic")})
    images: str = dataclasses.field(default="detected", metadata={"choices": ("detected", "labelled")})
    split: int = dataclasses.field(default=0, metadata={"choices": tuple(range(20))})


class Cuhk03(Source):
    """Extracted images, or those of cuhk-03.mat, divided by one of the protocols."""

    description = "CUHK03: people seen by pairs of cameras on a campus."
    homepage = "http://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html"

    def __init__(self, images: ExtractedImages | MatImages, tree: FileTree, options: Options):
        """`tree` is the set's folder, where the files that divide it are looked for."""
        self.name, self.location = _name(options), images.location
        self._images, self._tree, self._options = images, tree, options

    def list_files(self, split: str) -> list[ImageFile]:
        """See `Source.files`; in the classic protocol query and gallery are the same images."""
        files = self._labelled
        if self._options.protocol == "new":
            names = self._new_names(split)
            missing = [name for name in names if name not in files]
            if missing:
                raise InputError(
                    f"{len(missing)} of {len(names)} images of the new protocol's {split} are not in {self.location}: "
                    f"{first_few(missing)}; extract all images again"
                )
            return [files[name] for name in sorted(names)]
        test = self._test_people
        absent = test - {file.identity for file in files.values()}
        if absent:
            raise InputError(
                f"{len(absent)} of {len(test)} people of test split {self._options.split} have no image in "
                f"{self.location}: {first_few(sorted(absent))}; extract all images again"
            )
        return [file for _, file in sorted(files.items()) if (file.identity in test) == (split != TRAIN)]

    def expected(self, split: str) -> Counts | None:
        """The published counts; of the classic protocol those of people, for images differ from split to split."""
        if self._options.protocol == "new":
            return _EXPECTED_NEW[self._options.images, split]
        return Counts(None, 1367, 10) if split == TRAIN else Counts(None, 100, None)

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """See `Source.reader`."""
        return self._images.reader()

    @functools.cached_property
    def _labelled(self) -> dict[str, ImageFile]:
        """Every image by its file name."""
        files, misfits = {}, []
        for entry in self._images.entries():
            name = entry.name.rpartition("/")[2]
            labels = parse_name(name)
            if labels is None:
                misfits.append(name)
            else:
                files[name] = ImageFile.of(entry, *labels)
        if misfits:
            raise InputError(
                f"{len(misfits)} image name(s) in {self.location} do not look like '1_001_1_01.png', camera pair, "
                f"person, view and image: {first_few(misfits)}; rename or remove them"
            )
        if not files:
            raise InputError(f"{self.location} holds no image; extract the images again")
        self.left_out = self._images.left_out
        return files

    @functools.cached_property
    def _config(self) -> dict[str, np.ndarray]:
        name = _beside(self._tree, f"cuhk03_new_protocol_config_{SPELT[self._options.images]}.mat")
        variables = ("filelist", "labels", "camId", "train_idx", "query_idx", "gallery_idx")
        content = read_mat(self._tree, name, variables, _CONFIG_ADVICE)
        where = self._tree.location(name)
        names = content["filelist"].ravel().astype(str).tolist()
        config = {"names": np.array(names)}
        for variable in variables[1:]:
            config[variable] = whole_numbers(content[variable].ravel(), f"{where}: {variable}", _CONFIG_ADVICE)
        for split in self.splits:
            index = config[f"{split}_idx"]
            if len(index) == 0 or index.min() < 1 or index.max() > len(names):
                raise InputError(
                    f"{where}: {split}_idx does not hold numbers from 1 to {len(names)}, the length of filelist; "
                    f"{_CONFIG_ADVICE}"
                )
        # The file says itself who is where: what we read in the names has to agree.
        views = [1 + (labels[1] - 1) % 2 if labels else 0 for labels in map(parse_name, names)]
        people = [labels[0] if labels else 0 for labels in map(parse_name, names)]
        for variable, by_name in (("labels", people), ("camId", views)):
            wrong = np.flatnonzero(config[variable] != by_name) if len(config[variable]) == len(by_name) else [0]
            if len(wrong):
                raise InputError(
                    f"{where}: {variable} disagrees with filelist at row {wrong[0] + 1}, {shown(names[wrong[0]])!r}; "
                    f"{_CONFIG_ADVICE}"
                )
        return config

    def _new_names(self, split: str) -> list[str]:
        return self._config["names"][self._config[f"{split}_idx"] - 1].tolist()

    @functools.cached_property
    def _test_people(self) -> set[int]:
        """The identities that the classic split tests."""
        split = self._options.split
        name = _beside(self._tree, f"splits_classic_{SPELT[self._options.images]}.json")
        if self._tree.has_file(name):
            return _read_json_people(self._tree, name, split)
        if isinstance(self._images, MatImages):
            return self._images.test_people(split)
        for mat in MAT_FILES:
            if self._tree.has_file(mat):
                return MatImages(self._tree, mat, self._options.images).test_people(split)
        raise InputError(
            f"the classic protocol needs {self._tree.location(name)}, which torchreid writes, or "
            f"{self._tree.location(MAT_FILES[0])}, and neither is there; {RELEASE_ADVICE} into {self._tree.location()}"
        )


class Cuhk03NP(SplitFolders):
    """The new protocol in folders, as its authors give it: CUHK03-NP."""

    title = "CUHK03-NP"
    pattern = re.compile(r"(?P<identity>\d{1,9})_c(?P<camera>[12])_\d+\.\w+")  # the camera is the view
    example = "0003_c1_22.png"
    description, homepage = Cuhk03.description, "https://github.com/zhunzhong07/person-re-ranking"

    def __init__(self, tree: FileTree, options: Options):
        """`tree` is the folder that holds those of the detected and the labelled images."""
        parent = SPELT[options.images]
        super().__init__(tree, _name(options), {split: f"{parent}/{folder}" for split, folder in FOLDER_OF.items()})
        self._options = options

    @classmethod
    def parse_name(cls, name: str) -> tuple[int, int] | None:
        """(identity, camera) of a file name; the pair follows from the identity."""
        labels = super().parse_name(name)
        if labels is None or not 1 <= labels[0] <= sum(PEOPLE):
            return None
        identity, view = labels
        pair = 1 + int(np.searchsorted(np.cumsum(PEOPLE), identity))
        return identity, camera_of(pair, view)

    def expected(self, split: str) -> Counts | None:
        """The published counts."""
        return _EXPECTED_NEW[self._options.images, split]


def _name(options: Options) -> str:
    if options.protocol == "new":
        return f"{NAME}:protocol=new,images={options.images}"
    return full_name(NAME, options)


def _beside(tree: FileTree, name: str) -> str:
    """Where a file that divides the set is: in its folder, in the release's folder, or above it."""
    places = [name, f"cuhk03_release/{name}", f"../{name}"]
    return next((place for place in places if tree.has_file(place)), name)


def _read_json_people(tree: FileTree, name: str, split: int) -> set[int]:
    """The identities that a split tests, of the file that torchreid writes: a list of splits, each with its queries."""
    try:
        queries = parse_json(tree.read(name))[split]["query"]
        names = [re.split(r"[/\\]", query[0])[-1] for query in queries]
        people = {parse_name(query)[0] for query in names}
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{tree.location(name)} cannot be read as torchreid's splits ({type(error).__name__}: {shown(error)}); "
            "remove it, and the splits are read from cuhk-03.mat"
        ) from error
    if not people:
        raise InputError(f"{tree.location(name)} names no query in split {split}; remove it or write it again")
    return people


def find(name: str, data_dir: str | os.PathLike) -> Cuhk03 | Cuhk03NP:
    """Finds the set that `name`, 'cuhk03' with options, means.

    Raises:
      InputError: it is not there, or `split` is given for the new protocol, which has one.
    """
    options = parse_options(Options, name)
    new = options.protocol == "new"
    if new and options.split:
        raise InputError(f"data set {name!r}: the new protocol has one split; leave split={options.split} out")
    folder, np_folder = IMAGE_FOLDERS[options.images], f"{SPELT[options.images]}/{FOLDER_OF[TRAIN]}"
    where = f"cuhk03_release/cuhk-03.mat, {folder}" + (f" or cuhk03-np/{np_folder}" if new else "")
    tree = find_tree(
        data_dir,
        title=f"CUHK03 ({options.images}, {options.protocol} protocol)",
        is_root=lambda tree: (
            tree.has_folder(folder) or any(map(tree.has_file, MAT_FILES)) or (new and tree.has_folder(np_folder))
        ),
        folders=(*FOLDERS_NP, *FOLDERS) if new else FOLDERS,  # CUHK03-NP needs no other file to divide it
        archives=(*ARCHIVES_NP, *ARCHIVES) if new else ARCHIVES,
        advice=f"it is known by {where}; {RELEASE_ADVICE} into {data_dir}",
    )
    if tree.has_folder(folder):
        return Cuhk03(ExtractedImages(tree, folder), tree, options)
    if new and tree.has_folder(np_folder):
        return Cuhk03NP(tree, options)
    mat = next(filter(tree.has_file, MAT_FILES))
    if tree.inside_zip is not None:
        raise InputError(f"{tree.location(mat)} cannot be read inside the zip; unpack {tree.path}")
    return Cuhk03(MatImages(tree, mat, options.images), tree, options)
