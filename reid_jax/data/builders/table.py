"""Any set of images that a table lists: 'csv:FILE', one image a row.

The first row names the columns, in any order: `path`, `identity` (or `pid`), and where they are known `camera` (or
`camid`, `cam_id`, `camera_id`, `cam`), `split` and `tracklet`; a note names the columns that are not used. Fields are
separated by comma, semicolon or tab; the text is UTF-8, with or without a byte-order mark. FILE is relative to data_dir
or absolute; paths in it are relative to the folder it lies in. `text_labels` tells how the text of a label becomes
a number. Without a column `split` every image is for training, and a column that may be meant for it is an error.
Without `camera` cameras are unknown, as is one that is empty or a program's word for no value, such as NA or nan.
"""

import csv
import io
import os
import pathlib
from collections.abc import Sequence

from reid_jax.data.builders.files import Entry, FileTree
from reid_jax.data.builders.listed import listed_entries
from reid_jax.data.builders.source import TRAIN
from reid_jax.data.builders.spelling import composed, speller
from reid_jax.data.builders.text_labels import SPLIT_OF, LabelledFiles, TextLabels, split_of
from reid_jax.errors import InputError, first_few, nearest, shown

NAME = "csv"
# Each field and the words that its column may be called by.
COLUMNS = {
    "path": ("path",),
    "identity": ("identity", "pid"),
    "camera": ("camera", "camid", "cam_id", "camera_id", "cameraid", "cam"),
    "split": ("split",),
    "tracklet": ("tracklet",),
}

# What others call these fields. None of it is taken for the field: it may mean something else.
_OTHER_WORDS = {
    "path": ("file", "filename", "filepath", "image", "imagepath", "img", "imgpath", "imagename", "name", "src"),
    "identity": ("id", "person", "personid", "identityid", "label", "subject", "subjectid", "target", "vehicleid"),
    "camera": ("view", "viewpoint", "sensor"),
    "split": ("subset", "partition", "set", "part", "fold", "phase", "usage", "mode"),
    "tracklet": ("track", "trackid", "trackletid", "tid", "sequence", "video"),
}
_SURELY_SPLIT = ("subset", "partition")  # of the others, such as 'set' and 'part', the values decide
_NO_VALUE = ("NA", "N/A", "<NA>", "NaN", "nan", "None", "none", "NULL", "null")  # as R, pandas and others write it
_DELIMITERS = (",", ";", "\t")


class Table(LabelledFiles):
    """The images that a table lists."""

    description = "Images labelled by a table."


def find(name: str, data_dir: str | os.PathLike) -> Table:
    """Reads the table that 'csv:FILE' names and looks up its images.

    Raises:
      InputError: the table is missing, empty, not UTF-8, lacks a column or has one that may be meant for a split; a row
        is short, lacks a label, names a split that there is none of or an image that the split has already; or images
        are missing.
    """
    _, _, text = name.partition(":")
    if not text:
        raise InputError(f"data set {name!r} names no file; write 'csv:FILE', relative to data_dir or absolute")
    base, file = pathlib.Path(os.path.expanduser(data_dir)), os.path.expanduser(text)
    if not FileTree(base).has_file(file):
        file = speller(FileTree(base), composed)(file) or file
    path = base / file
    (_, header), *lines = _read(path)
    rows = [row for row in lines if any(row[1])]
    if not rows:
        raise InputError(f"{path} lists no image; write one row an image below the header")
    column = _columns(header, path)
    labels = [_labels_of(row, header, column, f"{path} line {number}") for number, row in rows]
    notes = _look_over_columns(header, column, [row for _, row in rows], path)
    tree = FileTree(path.parent)
    entries = listed_entries(
        tree,
        [str(pathlib.PurePosixPath(row[0])) for row in labels],  # './a.jpg' is a.jpg
        str(path),
        "mend the paths, which are relative to the table's folder",
    )
    _find_repeated(path, [number for number, _ in rows], [row[1] for row in labels], entries)
    labelled = [TextLabels(entry, *row[1:]) for entry, row in zip(entries, labels, strict=True)]
    return Table(name, str(path), tree, labelled, notes)


def _labels_of(row: list[str], header: list[str], column: dict[str, int], where: str) -> tuple[str, ...]:
    """(path, split, identity, camera, tracklet) of a row, '' for a label that has no column."""
    if len(row) < len(header):
        raise InputError(
            f"{where} has {len(row)} field(s) where the header has {len(header)}; fill in or remove the row"
        )
    if any(row[len(header) :]):
        raise InputError(
            f"{where} has {len(row)} fields where the header has {len(header)}; quote fields that hold the delimiter"
        )
    for field in ("path", "identity"):
        if not row[column[field]]:
            raise InputError(f"{where} has no {field}; fill in or remove it")
    split = split_of(row[column["split"]], where) if "split" in column else TRAIN
    identity = row[column["identity"]]
    if identity in _NO_VALUE:
        raise InputError(
            f"{where} has the identity {identity!r}, by which programs mean that there is none; write -1 for junk, or "
            "another name"
        )
    others = [row[column[field]] if field in column else "" for field in ("camera", "tracklet")]
    return row[column["path"]], split, identity, *("" if text in _NO_VALUE else text for text in others)


def _find_repeated(path: pathlib.Path, numbers: Sequence[int], splits: Sequence[str], entries: Sequence[Entry]) -> None:
    """Raises InputError where two rows list one file for one split, however they spell its path."""
    folder = os.path.abspath(path.parent)
    line_of: dict[tuple[str, str], int] = {}
    for number, split, entry in zip(numbers, splits, entries, strict=True):
        first = line_of.setdefault((split, os.path.normpath(os.path.join(folder, entry.name))), number)
        if first != number:
            raise InputError(
                f"{path} line {number} lists {shown(entry.name)!r} for {split} once more, after line {first}; remove "
                "one of the two rows"
            )


def _read(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """Rows of stripped fields, the header first, each with the number of its (last) line."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # the latter: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"table {shown(path)} cannot be read ({reason}); mend its name or data_dir") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} line {line} is not UTF-8 ({error.reason}); save the table as CSV in UTF-8") from error
    empty = f"{path} is empty; write a header such as path,identity,camera,split and one row an image"
    if not text.strip():
        raise InputError(empty)
    # The delimiter is the one that takes the header apart most.
    header = text.lstrip().splitlines()[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num} cannot be read as CSV ({error}); mend its quotes") from error
    first = next((i for i, (_, row) in enumerate(rows) if any(row)), None)
    if first is None:
        raise InputError(empty)
    return rows[first:]


def _columns(header: list[str], path: pathlib.Path) -> dict[str, int]:
    """Where the column of each field is."""
    names = [name.lower() for name in header]
    column = {}
    for field, words in COLUMNS.items():
        columns = [i for i, name in enumerate(names) if name in words]
        if len(columns) > 1:
            also = f" (also called {first_few(words[1:])})" if len(words) > 1 else ""
            raise InputError(f"{path} has more than one column {field}{also}; keep one")
        if columns:
            column[field] = columns[0]
    missing = [field for field in ("path", "identity") if field not in column]
    if missing:
        meant = _meant(header, column)
        lacks = [f"no column {field}{' (or pid)' if field == 'identity' else ''}" for field in missing]
        hints = [f"call {shown(header[i])} {field}" for i, field in meant.items() if field in missing]
        raise InputError(
            f"{path} has {' and '.join(lacks)}; its header is {first_few(header)}; "
            + (f"if that is meant, {' and '.join(hints)}; " if hints else "")
            + "the first row has to name the columns, such as path,identity,camera,split"
        )
    return column


def _meant(header: list[str], column: dict[str, int]) -> dict[int, str]:
    """Of each column that is not used, the lacking field that it may be meant for, where there is one."""
    lacking = {word: field for field, words in COLUMNS.items() if field not in column for word in words}
    others = {word: field for field in lacking.values() for word in _OTHER_WORDS[field]}
    meant = {}
    for i, name in enumerate(header):
        if i in column.values() or not name:
            continue
        field = others.get("".join(filter(str.isalnum, name.lower())))
        field = field or lacking.get(nearest(name, lacking))
        if field:
            meant[i] = field
    return meant


def _look_over_columns(
    header: list[str], column: dict[str, int], rows: list[list[str]], path: pathlib.Path
) -> tuple[str, ...]:
    """Notes on columns of other names and on unused ones; raises InputError where one of these may be meant for it."""
    meant = _meant(header, column)
    unused = [i for i, name in enumerate(header) if name and i not in column.values()]
    for i in unused if "split" not in column else ():
        name = header[i]
        values = [row[i].lower() for row in rows if row[i]]
        named = "split" in name.lower() or name.lower() in _SURELY_SPLIT
        if named or 2 * sum(value in SPLIT_OF for value in values) > len(values):
            raise InputError(
                f"{path} has a column {shown(name)!r} and none called split, so that it is open which images are for "
                "training; call it split, or, if it tells something else, add a column split"
            )
    notes = []
    if "camera" in column and (name := header[column["camera"]]).lower() != "camera":
        notes.append(f"the camera is read from the column {name}")
    if unused:
        hints = {i: f" (did you mean {field}?)" for i, field in meant.items()}
        names = [header[i] + hints.get(i, "") for i in unused]
        notes.append(f"{len(unused)} column(s) of the table are not used: {first_few(names)}")
    return tuple(notes)
