"""Labels as text, from a pattern over paths or from a table, turned into the numbers that every source gives.

The rules, for identities and for cameras alike:
- Where every value is a whole number below 100,000,000, each keeps its value: '0007', '7' and '7.0' are one person.
- Where any value is something else ('alice', 'entrance'), all of them are numbered 0, 1, … in the order of their text.
  That order runs over all splits together, so that a person in the query has the same number in the gallery. Texts
  that look equal are equal, whichever Unicode form they are in.
- The identity '-1' is junk, which every protocol drops. A camera that is empty or '-1' is unknown.
- Frames of one tracklet agree in identity, camera and tracklet: the same tracklet number of another person, or of
  another camera, is another tracklet. An empty tracklet or '-1' is a still image.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence

from reid_jax.data.builders.files import Entry, FileTree
from reid_jax.data.builders.market1501 import MULTI_QUERY
from reid_jax.data.builders.source import (
    GALLERY,
    QUERY,
    SPLITS,
    STILL,
    TRAIN,
    ImageFile,
    Source,
)
from reid_jax.data.builders.spelling import composed
from reid_jax.errors import InputError, did_you_mean, shown
from reid_jax.retrieval.protocol import JUNK, UNKNOWN_CAMERA

# The words by which data sets call their splits; case does not matter.
SPLIT_OF = {
    "train": TRAIN,
    "training": TRAIN,
    "bounding_box_train": TRAIN,
    "bbox_train": TRAIN,
    "query": QUERY,
    "probe": QUERY,
    "gallery": GALLERY,
    "test": GALLERY,
    "bounding_box_test": GALLERY,
    "bbox_test": GALLERY,
    "multi_query": MULTI_QUERY,
    "gt_bbox": MULTI_QUERY,
}
# Larger numbers are codes rather than counts, and several joined sets of them would not fit into 32 bits.
_MOST_DIGITS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class TextLabels:
    """One image's entry and its labels as they were written; `split` is one of the values of `SPLIT_OF`."""

    entry: Entry
    split: str
    identity: str
    camera: str = ""
    tracklet: str = ""


def split_of(word: str, where: str) -> str:
    """The split that `word` means; raises InputError, which says `where` it was read, for any other word."""
    split = SPLIT_OF.get(word.lower())
    if split is None:
        hint = did_you_mean(word, SPLIT_OF)
        raise InputError(f"{where}: split {shown(word)!r} is none of {', '.join(SPLIT_OF)}{hint}")
    return split


def number_labels(rows: Sequence[TextLabels]) -> dict[str, list[ImageFile]]:
    """The images of each split that occurs, by the rules above, sorted by tracklet and then by name."""
    identity = _numbers((row.identity for row in rows), JUNK)
    camera = _numbers((row.camera for row in rows), UNKNOWN_CAMERA)
    tracklet = _numbers((row.tracklet for row in rows), STILL)

    def key(row: TextLabels) -> tuple[int, int, int]:
        return identity[row.identity], camera[row.camera], tracklet[row.tracklet]

    tracklets = sorted({key(row) for row in rows if tracklet[row.tracklet] != STILL})
    number = {triple: i for i, triple in enumerate(tracklets)}
    files: dict[str, list[ImageFile]] = {}
    for row in rows:
        labelled = ImageFile.of(row.entry, *key(row)[:2], number.get(key(row), STILL))
        files.setdefault(row.split, []).append(labelled)
    for listed in files.values():
        listed.sort(key=lambda file: (file.tracklet, file.name))
    return files


def _numbers(texts: Iterable[str], unknown: int) -> dict[str, int]:
    distinct = set(texts)
    known = distinct - {"", "-1", "-1.0"}
    digits = {text: text.removesuffix(".0").lstrip("0") for text in known}
    if all(
        text.isascii() and text.removesuffix(".0").isdigit() and len(digits[text]) <= _MOST_DIGITS for text in known
    ):
        numbers = {text: int(digits[text] or "0") for text in known}
    else:
        order = {form: i for i, form in enumerate(sorted(set(map(composed, known))))}
        numbers = {text: order[composed(text)] for text in known}
    return numbers | {text: unknown for text in distinct - known}


class LabelledFiles(Source):
    """Images whose labels were written as text; the splits are those that occur."""

    def __init__(self, name: str, location: str, tree: FileTree, rows: Sequence[TextLabels], notes: tuple[str, ...]):
        """`name` is the set's full name, `location` where its labels are read."""
        self.name, self.location, self.notes = name, location, notes
        self._tree = tree
        self._files = number_labels(rows)
        self.splits = tuple(split for split in (*SPLITS, MULTI_QUERY) if split in self._files)

    def list_files(self, split: str) -> list[ImageFile]:
        """See `Source.files`."""
        return list(self._files[split])

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """See `Source.reader`."""
        return self._tree.reader()
