"""Any set of images that a table lists: 'csv:FILE', one image a row.

The first row names the columns, in any order: `path`, `identity` (or `pid`), and where they are known `camera`, `split`
and `tracklet`; other columns are ignored. Fields are separated by comma, semicolon or tab; the text is UTF-8, with or
without a byte-order mark. FILE is relative to data_dir or absolute; paths in it are relative to the folder it lies in.
`reid_jax.data.builders.labels` tells how the text of a label becomes a number. Without a column `split` every image is
for training; without `camera` cameras are unknown.
"""

import csv
import io
import os
import pathlib

from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.labels import LabelledFiles, TextLabels, split_of
from reid_jax.data.builders.listed import listed_entries
from reid_jax.data.builders.source import TRAIN
from reid_jax.errors import InputError, first_few

NAME = "csv"
COLUMNS = ("path", "identity", "pid", "camera", "split", "tracklet")  # pid: another word for identity

_DELIMITERS = (",", ";", "\t")


class Table(LabelledFiles):
    """The images that a table lists."""

    description = "Images labelled by a table."


def find(name: str, data_dir: str | os.PathLike) -> Table:
    """Reads the table that 'csv:FILE' names and looks up its images.

    Raises:
      InputError: the table is missing, empty, not UTF-8 or lacks a column, a row is short, lacks a label, names a split
        that there is none of or an image that the split has already, or images are missing.
    """
    _, _, text = name.partition(":")
    if not text:
        raise InputError(f"data set {name!r} names no file; write 'csv:FILE', relative to data_dir or absolute")
    path = pathlib.Path(data_dir).expanduser() / pathlib.Path(text).expanduser()
    lines = _read(path)
    rows = [row for row in lines[1:] if any(row[1])]
    if not rows:
        raise InputError(f"{path} lists no image; write one row an image below the header")
    column = _columns(lines[0][1], path)
    identity = column.get("identity", column.get("pid"))
    seen = set()
    told = []
    for number, row in rows:
        where = f"{path} line {number}"
        width = len(lines[0][1])
        if len(row) < width:
            raise InputError(f"{where} has {len(row)} field(s) where the header has {width}; fill in or remove the row")
        if any(row[width:]):
            raise InputError(
                f"{where} has {len(row)} fields where the header has {width}; quote fields that hold the delimiter"
            )
        if not row[column["path"]] or not row[identity]:
            raise InputError(f"{where} has no {'identity' if row[column['path']] else 'path'}; fill in or remove it")
        split = split_of(row[column["split"]], where) if "split" in column else TRAIN
        image = row[column["path"]]
        if (split, image) in seen:
            raise InputError(f"{where} lists {image!r} for {split} once more; remove one of the two rows")
        seen.add((split, image))
        labels = [row[column[field]] if field in column else "" for field in ("camera", "tracklet")]
        told.append((image, split, row[identity], *labels))
    tree = FileTree(path.parent)
    entries = listed_entries(
        tree, [row[0] for row in told], str(path), "mend the paths, which are relative to the table's folder"
    )
    rows = [TextLabels(entry, *row[1:]) for entry, row in zip(entries, told, strict=True)]
    return Table(name, str(path), tree, rows, ())


def _read(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """Rows of stripped fields, the header first, each with the number of its (last) line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"table {path} cannot be read ({error.strerror}); mend its name or data_dir") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} line {line} is not UTF-8 ({error.reason}); save the table as CSV in UTF-8") from error
    if not text.strip():
        raise InputError(f"{path} is empty; write a header such as path,identity,camera,split and one row an image")
    # The delimiter is the one that takes the header apart most.
    header = text.lstrip().splitlines()[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num} cannot be read as CSV ({error}); mend its quotes") from error
    first = next(place for place, (_, row) in enumerate(rows) if any(row))
    return rows[first:]


def _columns(header: list[str], path: pathlib.Path) -> dict[str, int]:
    """Where each known column is."""
    names = [name.lower() for name in header]
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if {"identity", "pid"} <= set(names):
        twice = ["identity (also called pid)"]
    if twice:
        raise InputError(f"{path} has more than one column {twice[0]}; keep one")
    missing = [] if "path" in names else ["path"]
    missing += [] if {"identity", "pid"} & set(names) else ["identity (or pid)"]
    if missing:
        raise InputError(
            f"{path} has no column {' and no column '.join(missing)}; its header is {first_few(header)}; the first row "
            "has to name the columns, such as path,identity,camera,split"
        )
    return {name: names.index(name) for name in COLUMNS if name in names}
