r"""What is known of images by their names: from a pattern, from a table, or the same of all.

A pattern is a regular expression over the whole name, with named groups: `person` (or `identity`), `camera`, `time`,
`tag`. Market-1501's: (?P<person>-?\d+)_c(?P<camera>\d)s\d_(?P<time>\d+)_.*
A table is a CSV file whose first row names its columns: `name`, and any of `person`, `camera`, `time`, `tags` (with |
between them; \| and \\ are one in a tag) and `digest`. It is what `reid-jax gallery export --facts` writes. What a row
says goes before what the pattern says, and that before what is said of all; tags are joined. Blanks around a text are
not kept.
"""

import csv
import dataclasses
import io
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from reid_jax.errors import InputError, did_you_mean, first_few, shown
from reid_jax.files.csv_text import unshielded
from reid_jax.gallery.entries import composed
from reid_jax.gallery.times import seconds_of

COLUMNS = ("name", "person", "camera", "time", "tags", "digest")
_GROUPS = ("person", "identity", "camera", "time", "tag")


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a name, a table or the user says of an image; see `entries.Facts`."""

    camera: str = ""
    time: float | None = None
    person: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("camera", "person"):
            object.__setattr__(self, name, getattr(self, name).strip())
        object.__setattr__(self, "tags", tuple(tag.strip() for tag in self.tags if tag.strip()))

    def over(self, others: "Labels") -> "Labels":
        """These, and what `others` say where these say nothing; all tags."""
        time = others.time if self.time is None else self.time
        return Labels(self.camera or others.camera, time, self.person or others.person, others.tags + self.tags)


Table = Mapping[str, Sequence[Mapping[str, str]]]  # name -> its rows, each column -> text


def labels_of(
    names: Sequence[str], of_all: Labels, pattern: str = "", time_form: str = "", rows: Sequence[Mapping[str, str]] = ()
) -> list[Labels]:
    """Returns the labels of each name; see the module.

    Args:
      time_form: of the times that a pattern or a table finds, see `times.seconds_of`.
      rows: of each name, from `rows_of`; () where there is no table.

    Raises InputError for a bad pattern, and where names do not match it, all of them counted.
    """
    found = [of_all] * len(names)
    if pattern:
        expression = _compiled(composed(pattern))
        matches = [expression.fullmatch(composed(name)) for name in names]
        wrong = [name for name, match in zip(names, matches, strict=True) if match is None]
        _refuse(wrong, names, f"do not match {shown(pattern)!r}")
        for row, match in enumerate(matches):
            groups = {group: text or "" for group, text in match.groupdict().items()}
            found[row] = _said(names[row], groups, groups.get("tag", ""), time_form).over(found[row])
    for row, texts in enumerate(rows):
        found[row] = _said(names[row], texts, texts.get("tags", ""), time_form).over(found[row])
    return found


def rows_of(names: Sequence[str], table: Table) -> list[Mapping[str, str]]:
    """Returns the row of each name; the k-th that has a name takes the k-th row of it.

    Raises InputError where names stand in no row, all of them counted, or more or less often than in rows.
    """
    keys = [_key(name) for name in names]
    absent = [name for name, key in zip(names, keys, strict=True) if key not in table]
    _refuse(absent, names, "stand in no row of the table")
    times = Counter(keys)
    for name, key in zip(names, keys, strict=True):
        rows = len(table[key])
        if rows != times[key] and (rows > 1 or table[key][0].get("digest")):
            raise InputError(
                f"{shown(name)} is the name of {times[key]:,} of the images, and of {rows:,} rows of the table; give a "
                "row for each"
            )
    following = {key: itertools.cycle(table[key]) for key in times}  # of as many rows as names, or of one
    return [next(following[key]) for key in keys]


def read_table(path: Path) -> dict[str, list[dict[str, str]]]:
    """Reads a table for `rows_of`: of each name its rows, which differ in their digests.

    Raises InputError where it is missing or no such table.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(path)} is not UTF-8; save it as that") from error
    try:
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (csv.Error, ValueError) as error:
        raise InputError(
            f"{shown(path)} is no table of commas ({shown(error)}); the first row names columns"
        ) from error
    header = [column.strip() for column in header]
    unknown = [column for column in header if column not in COLUMNS]
    if unknown or "name" not in header:
        wrong = f"a column {shown(unknown[0])!r}{did_you_mean(unknown[0], COLUMNS)}" if unknown else "no column name"
        raise InputError(f"{shown(path)} has {wrong}; columns are {', '.join(COLUMNS)}")
    rows: dict[str, list[dict[str, str]]] = {}
    for number, line in enumerate(lines, 2):
        if not any(line):
            continue
        if len(line) != len(header):
            raise InputError(f"{shown(path)} row {number} has {len(line)} fields where the header has {len(header)}")
        row = {column: unshielded(field.strip()).strip() for column, field in zip(header, line, strict=True)}
        others = rows.setdefault(_key(row["name"]), [])
        if any(not row.get("digest") or row["digest"] == other["digest"] for other in others):
            raise InputError(
                f"{shown(path)} row {number} names {shown(row['name'])!r} once more; remove one of the rows"
            )
        others.append(row)
    return rows


def tags_text(tags: Sequence[str]) -> str:
    """Returns tags as a table has them."""
    return "|".join(tag.replace("\\", "\\\\").replace("|", "\\|") for tag in tags)


def _tags(text: str) -> list[str]:
    """The tags of a table's field."""
    return [re.sub(r"\\([\\|])", r"\1", part) for part in re.findall(r"(?:\\[\\|]|[^|])+", text)]


def _key(name: str) -> str:
    """A name as it is looked up in a table: blanks around it and its form of Unicode do not count."""
    return composed(name).strip()


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"--pattern is {shown(pattern)!r}, which is no regular expression: {shown(error)}") from error
    unknown = [group for group in expression.groupindex if group not in _GROUPS]
    if unknown or not expression.groupindex:
        wrong = f"a group {unknown[0]}{did_you_mean(unknown[0], _GROUPS)}" if unknown else "no named group"
        raise InputError(f"--pattern {shown(pattern)!r} has {wrong}; groups are {', '.join(_GROUPS)}, as (?P<camera>…)")
    return expression


def _said(name: str, texts: Mapping[str, str], tags: str, time_form: str) -> Labels:
    try:
        time = seconds_of(texts["time"], time_form) if texts.get("time") else None
    except InputError as error:
        raise InputError(f"{shown(name)}: its time {error}") from error
    person = texts.get("person") or texts.get("identity") or ""
    return Labels(texts.get("camera", ""), time, person, tuple(_tags(tags)))


def _refuse(wrong: Sequence[str], names: Sequence[str], what: str) -> None:
    if wrong:
        raise InputError(f"{len(wrong):,} of {len(names):,} images {what}: {first_few(wrong)}; mend it, or move these")
