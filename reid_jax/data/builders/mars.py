"""MARS (Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016): tracklets.

A tracklet is a run of frames of one person in front of one camera, `bbox_test/0001/0001C1T0001F001.jpg` and on. The
set's info folder lists which rows of test_name.txt make a tracklet, and which tracklets are queries.

Protocols differ in the gallery. The authors' script, test_mars.m, ranks all tracklets of the test set, so that another
query of the same person can be a match ('gallery=all'). torchreid ranks those that are no queries ('gallery=rest', the
default); 140 of the 1,980 queries then have no match in another camera.

The same layout without info is read as well, so that an own video can be evaluated: split folders `bbox_train`, `query`
and `gallery`, in each a folder per identity with frames named `<identity>C<camera>T<tracklet>F<frame>.jpg`. Frames
that agree in the first three are a tracklet, one item of the query or the gallery. Identity 0 is of no query's
person; '00-1' is junk, which is dropped.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable

import numpy as np

from reid_jax.data.builders.files import Entry, FileTree
from reid_jax.data.builders.finding import find_tree
from reid_jax.data.builders.listed import listed_entries, read_lines
from reid_jax.data.builders.matlab import read_mat, whole_numbers
from reid_jax.data.builders.options import full_name, parse_options
from reid_jax.data.builders.source import GALLERY, QUERY, SPLITS, TRAIN, Counts, ImageFile, Source
from reid_jax.errors import InputError, first_few, shown
from reid_jax.retrieval.protocol import JUNK

NAME = "mars"
TRAIN_FOLDER, TEST_FOLDER, INFO_FOLDER = "bbox_train", "bbox_test", "info"
FOLDER_OF = {TRAIN: TRAIN_FOLDER, QUERY: "query", GALLERY: "gallery"}  # of the layout without info
FOLDERS = ("MARS", "mars", "Mars", "MARS-v160809", "mars/MARS")
DISTRACTOR = 0

_FRAME = re.compile(r"(?P<identity>0*-1|\d{1,9})C(?P<camera>\d{1,9})T(?P<tracklet>\d{1,9})F(?P<frame>\d{1,9})\.\w+")
_EXAMPLE = "0001/0001C1T0001F001.jpg"
_ADVICE = (
    f"take {INFO_FOLDER}/ from https://github.com/liangzheng06/MARS-evaluation and bbox_train.zip and bbox_test.zip "
    "from the set's authors, and unpack them side by side"
)
# By split and `Options.gallery`: frames, frames at the default of 8 a tracklet, identities; counted in the set's info.
_COUNTS = {
    (TRAIN, "rest"): (509_914, 66_257, 625),
    (QUERY, "rest"): (114_493, 15_790, 626),
    (GALLERY, "rest"): (543_216, 74_440, 620),
    (TRAIN, "all"): (509_914, 66_257, 625),
    (QUERY, "all"): (114_493, 15_790, 626),
    (GALLERY, "all"): (657_709, 90_230, 634),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What may stand behind the name: 'mars:frames=0' takes every frame, 'mars:gallery=all' ranks as test_mars.m does.

    frames: at most that many frames of a tracklet, evenly spaced; 0 for all, 509,914 of training, which are 14.6 GiB at
      160x64: they are streamed where memory does not hold them. The default of 8 makes 66,257 of them, 1.9 GiB. Where a
      figure is to be compared with one that pools over all frames, evaluate with 0: the test set is decoded in blocks.
    gallery: the tracklets of the test set to rank: 'rest' those that are no queries, 'all' the queries as well.
    """

    frames: int = 8
    gallery: str = dataclasses.field(default="rest", metadata={"choices": ("rest", "all")})


def evenly(count: int, most: int) -> np.ndarray:
    """At most `most` (0: all) of `count` places, int64: the middles of equal parts, so that 1 gives the middle."""
    if most == 0 or count <= most:
        return np.arange(count)
    return (2 * np.arange(most) + 1) * count // (2 * most)


class _Tracklets(Source):
    """What both layouts share."""

    distractor = DISTRACTOR

    def __init__(self, tree: FileTree, name: str, frames: int):
        self.name, self.location = name, tree.location()
        self._tree, self._frames = tree, frames

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """See `Source.reader`."""
        return self._tree.reader()


class Mars(_Tracklets):
    """The set itself, by its info; a frame's tracklet is its row in the info, counted from 0."""

    image_size = (256, 128)
    description = "MARS: tracklets of people seen by six cameras on a campus."
    homepage = "https://zheng-lab.cecs.anu.edu.au/Project/project_mars.html"

    def __init__(self, tree: FileTree, options: Options):
        """`tree` is the set's folder."""
        super().__init__(tree, full_name(NAME, options), options.frames)
        self._options = options

    def list_files(self, split: str) -> list[ImageFile]:
        """See `Source.files`."""
        test = split != TRAIN
        listing = f"{INFO_FOLDER}/{'test' if test else 'train'}_name.txt"
        names = [line for _, line in read_lines(self._tree, listing, _ADVICE)]
        tracks = self._tracks("test" if test else "train", len(names), listing)
        rows = np.arange(len(tracks))
        if test:
            query = self._query_rows(len(tracks))
            if split == QUERY:
                rows = query
            elif self._options.gallery == "rest":
                rows = np.setdiff1d(rows, query)
        folder = TEST_FOLDER if test else TRAIN_FOLDER
        labels = {}
        for row in rows.tolist():
            first, last, identity, camera = tracks[row].tolist()
            for i in evenly(last - first + 1, self._frames).tolist():
                frame = names[first - 1 + i]
                parsed = _parse(frame)
                if parsed is None or parsed[:2] != (identity, camera):
                    raise InputError(
                        f"{self._tree.location(INFO_FOLDER)}: tracklet {row + 1} is of identity {identity}, camera "
                        f"{camera}, but {listing} has {shown(frame)!r} among its frames; {_ADVICE}"
                    )
                path = f"{folder}/{frame.partition('C')[0]}/{frame}"
                if path in labels:
                    raise InputError(
                        f"{self._tree.location(INFO_FOLDER)}: {frame} is in two tracklets, {labels[path][2] + 1} and "
                        f"{row + 1}; {_ADVICE}"
                    )
                labels[path] = (identity, camera, row)
        entries = listed_entries(self._tree, list(labels), self._tree.location(listing), _ADVICE)
        return [ImageFile.of(entry, *label) for entry, label in zip(entries, labels.values(), strict=True)]

    def expected(self, split: str) -> Counts | None:
        """The counts of the whole set; of images only where every frame is taken, or the default number of them."""
        images, few, identities = _COUNTS[split, self._options.gallery]
        return Counts({0: images, Options.frames: few}.get(self._frames), identities, 6)

    def _tracks(self, half: str, frames: int, listing: str) -> np.ndarray:
        """int64 [n, 4]: first and last frame (from 1, both included), identity, camera of each tracklet.

        `half` is 'train' or 'test'; `frames` are listed in the file `listing`.
        """
        name, variable = f"{INFO_FOLDER}/tracks_{half}_info.mat", f"track_{half}_info"
        where = self._tree.location(name)
        tracks = whole_numbers(read_mat(self._tree, name, (variable,), _ADVICE)[variable], where, _ADVICE)
        if tracks.ndim != 2 or tracks.shape[1] != 4 or not len(tracks):
            raise InputError(f"{where}: {variable} has the shape {tracks.shape}, not [n, 4]; {_ADVICE}")
        first, last = tracks[:, 0], tracks[:, 1]
        wrong = np.flatnonzero((first < 1) | (last < first) | (last > frames))
        if len(wrong):
            row = wrong[0]
            raise InputError(
                f"{where}: tracklet {row + 1} has the frames {first[row]} to {last[row]} of the {frames} in {listing}; "
                f"{_ADVICE}"
            )
        return tracks

    def _query_rows(self, tracklets: int) -> np.ndarray:
        """The rows of the test tracklets that are queries, from 0, sorted."""
        name = f"{INFO_FOLDER}/query_IDX.mat"
        where = self._tree.location(name)
        values = whole_numbers(read_mat(self._tree, name, ("query_IDX",), _ADVICE)["query_IDX"], where, _ADVICE)
        rows = np.unique(values) - 1
        if len(rows) != values.size or not len(rows) or rows[0] < 0 or rows[-1] >= tracklets:
            raise InputError(f"{where} does not hold different numbers from 1 to {tracklets}; {_ADVICE}")
        return rows


class NamedTracklets(_Tracklets):
    """The layout without info; tracklets of a split are numbered in the order of identity, camera and tracklet."""

    description = "Tracklets in folders of frames."

    def __init__(self, tree: FileTree, options: Options):
        """`tree` is the set's folder."""
        super().__init__(tree, f"{NAME}:frames={options.frames}", options.frames)
        self.splits = tuple(split for split in SPLITS if tree.has_folder(FOLDER_OF[split]))
        self.left_out = {}

    def list_files(self, split: str) -> list[ImageFile]:
        """See `Source.files`."""
        where = self._tree.location(FOLDER_OF[split])
        tracklets: dict[tuple[int, int, int], list[tuple[int, Entry]]] = {}
        misfits = []
        images, left_out = self._tree.images(FOLDER_OF[split])
        self.left_out |= left_out
        for entry in images:
            path = entry.name.partition("/")[2]
            folder, _, frame = path.rpartition("/")
            parsed = _parse(frame)
            if parsed is None or folder != frame.partition("C")[0]:
                misfits.append(path)
                continue
            tracklets.setdefault(parsed[:3], []).append((parsed[3], entry))
        if misfits:
            raise InputError(
                f"{len(misfits)} image name(s) in {where} do not look like {_EXAMPLE!r}, identity, camera, tracklet "
                f"and frame in the folder of the identity: {first_few(misfits)}; rename or remove them"
            )
        if not tracklets:
            raise InputError(f"folder {where} holds no image; put frames such as {_EXAMPLE!r} into it")
        files = []
        for number, (labels, frames) in enumerate(sorted(tracklets.items(), key=lambda item: item[0])):
            frames.sort(key=lambda frame: (frame[0], frame[1].name))
            files += [ImageFile.of(frames[i][1], *labels[:2], number) for i in evenly(len(frames), self._frames)]
        return files


def _parse(frame: str) -> tuple[int, int, int, int] | None:
    """(identity, camera, tracklet, frame) of a frame's name; None where it does not match."""
    match = _FRAME.fullmatch(frame)
    if match is None:
        return None
    identity = JUNK if match["identity"].endswith("-1") else int(match["identity"])
    return identity, int(match["camera"]), int(match["tracklet"]), int(match["frame"])


def _has_named_test(tree: FileTree) -> bool:
    return tree.has_folder(FOLDER_OF[QUERY]) and tree.has_folder(FOLDER_OF[GALLERY])


def find(name: str, data_dir: str | os.PathLike) -> Mars | NamedTracklets:
    """Finds the set, or another in its layout, that `name`, 'mars' with options, means.

    Raises:
      InputError: it is not there, or its info is not.
    """
    options = parse_options(Options, name)
    tree = find_tree(
        data_dir,
        title="MARS",
        is_root=lambda tree: tree.has_folder(TRAIN_FOLDER) or tree.has_folder(TEST_FOLDER) or _has_named_test(tree),
        folders=FOLDERS,
        archives=(),
        advice=f"put the set's folder, which holds {TRAIN_FOLDER}, {TEST_FOLDER} and {INFO_FOLDER}, into {data_dir}; "
        f"{_ADVICE}",
        is_own=lambda tree: all(map(tree.has_folder, (TRAIN_FOLDER, TEST_FOLDER, INFO_FOLDER))),
    )
    if tree.has_folder(INFO_FOLDER):
        return Mars(tree, options)
    if tree.has_folder(TEST_FOLDER) and not _has_named_test(tree):
        raise InputError(
            f"{tree.location(INFO_FOLDER)} is missing, which tells queries from the gallery; {_ADVICE}; of an own "
            f"video, put the frames into folders {FOLDER_OF[QUERY]} and {FOLDER_OF[GALLERY]} instead of {TEST_FOLDER}"
        )
    if options.gallery == "all":
        raise InputError(
            f"data set {name!r}: gallery=all needs {tree.location(INFO_FOLDER)}, which is missing; {_ADVICE}, "
            "or leave gallery=all out"
        )
    return NamedTracklets(tree, options)
