"""Market-1501 (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015) and its extras.

The extras are the 500,000 distractors that may join the gallery, and the hand-drawn boxes of gt_bbox that multi-query
evaluation pools.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterator

from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.finding import find_tree
from reid_jax.data.builders.options import full_name, parse_options
from reid_jax.data.builders.source import GALLERY, QUERY, TRAIN, Counts, ImageFile
from reid_jax.data.builders.split_folders import FOLDER_OF, SplitFolders, is_own_root, is_root
from reid_jax.errors import InputError
from reid_jax.retrieval.protocol import UNKNOWN_CAMERA

NAME = "market1501"
MULTI_QUERY = "multi_query"
MULTI_QUERY_FOLDER = "gt_bbox"
DISTRACTOR = 0  # detections of no query's person: they stay in the gallery, always as negatives
# The usual names of the authors, torchreid, FastReID and BoxMOT.
FOLDERS = (
    "Market-1501-v15.09.15",
    "market1501/Market-1501-v15.09.15",
    "Market-1501",
    "market1501",
    "Market1501/Market-1501-v15.09.15",
    "Market1501",
    "Market-1501/Market-1501-v15.09.15",
    "market",
)
ARCHIVES = ("Market-1501-v15.09.15.zip", "market1501/Market-1501-v15.09.15.zip", "market1501.zip")
# distractors_500k.zip unpacks to 'images', which torchreid wants in the set's folder, and once wanted in the one above.
DISTRACTOR_FOLDERS = ("images", "distractors_500k", "market1501_500k", "../images", "../distractors_500k")
DISTRACTOR_ARCHIVE = "distractors_500k.zip"

_DISTRACTOR_PREFIX = "distractors_500k/"
_DISTRACTOR_PATTERN = re.compile(r"-?\d+_c(?P<camera>\d{1,9})")
_DISTRACTORS = 500_000
_EXPECTED = {
    TRAIN: Counts(12936, 751, 6),
    QUERY: Counts(3368, 750, 6),
    GALLERY: Counts(15913, 750, 6),  # 19,732 files less 3,819 of junk
    MULTI_QUERY: Counts(None, 750, 6),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What may stand behind the name: 'market1501:distractors' adds the 500,000 distractors to the gallery."""

    distractors: bool = False


class Market1501(SplitFolders):
    """The three folders; `multi_query`, the boxes of gt_bbox of the queries' people and cameras, where it is there."""

    title = "Market-1501"
    pattern = re.compile(
        r"(?P<identity>-1|\d{1,9})_c(?P<camera>\d{1,9})s\d+_\d+_\d+(?:\.\w+)+"  # six queries end in .jpg.jpg
    )
    example = "0002_c1s1_000451_03.jpg"
    distractor = DISTRACTOR
    image_size = (128, 64)
    description = "Market-1501: people seen by six cameras on a campus."
    homepage = "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html"

    def __init__(self, tree: FileTree, name: str = NAME, distractors: FileTree | None = None):
        """`tree` is the set's folder, `distractors` the folder of images that join the gallery as identity 0."""
        multi_query = {MULTI_QUERY: MULTI_QUERY_FOLDER} if tree.has_folder(MULTI_QUERY_FOLDER) else {}
        super().__init__(tree, name, FOLDER_OF | multi_query)
        self._distractors = distractors

    def list_files(self, split: str) -> list[ImageFile]:
        """See `Source.files`; distractors follow the gallery's own images."""
        files = super().list_files(split)
        if split == GALLERY and self._distractors is not None:
            return files + self._distractor_files()
        if split == MULTI_QUERY:
            seen = {(file.identity, file.camera) for file in self.files(QUERY)}
            return [file for file in files if (file.identity, file.camera) in seen]
        return files

    def expected(self, split: str) -> Counts | None:
        """The published counts."""
        expected = _EXPECTED[split]
        if split == GALLERY and self._distractors is not None:
            return Counts(expected.images + _DISTRACTORS, expected.identities, None)
        return expected

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """See `Source.reader`."""
        with contextlib.ExitStack() as stack:
            read = stack.enter_context(self.tree.reader())
            if self._distractors is None:
                yield read
                return
            read_distractor = stack.enter_context(self._distractors.reader())

            def either(name: str) -> bytes:
                own = name.removeprefix(_DISTRACTOR_PREFIX)
                return read(name) if own == name else read_distractor(own)

            yield either

    def _distractor_files(self) -> list[ImageFile]:
        files = []
        images, left_out = self._distractors.images()
        self.left_out |= {_DISTRACTOR_PREFIX + name: reason for name, reason in left_out.items()}
        for entry in images:
            match = _DISTRACTOR_PATTERN.match(entry.name.rpartition("/")[2])
            camera = UNKNOWN_CAMERA if match is None else int(match["camera"])
            files.append(ImageFile(_DISTRACTOR_PREFIX + entry.name, DISTRACTOR, camera, entry.size, entry.stamp))
        if not files:
            raise InputError(f"folder {self._distractors.location()} holds no image; unpack {DISTRACTOR_ARCHIVE} again")
        return files


def find(name: str, data_dir: str | os.PathLike) -> Market1501:
    """Finds the set that `name`, 'market1501' with options, means; raises InputError where it is not there."""
    options = parse_options(Options, name)
    tree = find_tree(
        data_dir,
        title=Market1501.title,
        is_root=is_root,
        is_own=is_own_root(Market1501),
        folders=FOLDERS,
        archives=ARCHIVES,
        advice=f"download Market-1501-v15.09.15.zip from its authors and put the zip, or the unpacked folder, "
        f"into {data_dir}",
    )
    if not options.distractors:
        return Market1501(tree)
    return Market1501(tree, full_name(NAME, options), _find_distractors(tree))


def _find_distractors(tree: FileTree) -> FileTree:
    base = tree.path.parent if tree.inside_zip is not None else tree.path
    folders = [pathlib.Path(os.path.normpath(base.absolute() / folder)) for folder in DISTRACTOR_FOLDERS]
    for folder in folders:
        if folder.is_dir():
            return FileTree(folder)
    archives = [base / DISTRACTOR_ARCHIVE, base.absolute().parent / DISTRACTOR_ARCHIVE]
    for archive in archives:
        if archive.is_file():
            return FileTree(archive, "")
    looked = ", ".join(str(place) for place in (*folders, *archives))
    raise InputError(
        f"Market-1501's {_DISTRACTORS:,} distractors not found; looked at {looked}; download {DISTRACTOR_ARCHIVE} "
        "from the set's authors, or leave ':distractors' out"
    )
