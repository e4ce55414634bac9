r"""What is known of images by their names: from a pattern, from a table, or the same of all.

A pattern is a regular expression over the whole name, with named groups: `person` (or `identity`), `camera`, `time`,
`tag`. Market-1501's: (?P<person>-?\d+)_c(?P<camera>\d)s\d_(?P<time>\d+)_.*
A table is a CSV file whose first row names its columns: `name`, and any of `person`, `camera`, `time`, `tags` (with |
between them) and `digest`. It is what `reid-jax gallery export --facts` writes. What a row says goes before what the
pattern says, and that before what is said of all; tags are joined.
"""

import csv
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from reid_jax.errors import InputError, did_you_mean, first_few, shown
from reid_jax.gallery.times import seconds_of

BETWEEN_TAGS = "|"
COLUMNS = ("name", "person", "camera", "time", "tags", "digest")
_GROUPS = ("person", "identity", "camera", "time", "tag")


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a name, a table or the user says of an image; see `entries.Facts`."""

    camera: str = ""
    time: float | None = None
    person: str = ""
    tags: tuple[str, ...] = ()

    def over(self, others: "Labels") -> "Labels":
        """These, and what `others` say where these say nothing; all tags."""
        time = others.time if self.time is None else self.time
        return Labels(self.camera or others.camera, time, self.person or others.person, others.tags + self.tags)


def labels_of(
    names: Sequence[str],
    of_all: Labels,
    pattern: str = "",
    time_form: str = "",
    table: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Labels]:
    """Returns the labels of each name; see the module.

    Args:
      time_form: of the times that a pattern or a table finds, see `times.seconds_of`.
      table: from `read_table`.

    Raises InputError for a bad pattern, and where names do not match it or stand in no row, all of them counted.
    """
    found = dict.fromkeys(names, of_all)
    if pattern:
        expression = _compiled(pattern)
        matches = {name: expression.fullmatch(name) for name in names}
        _refuse([name for name, match in matches.items() if match is None], names, f"do not match {shown(pattern)!r}")
        for name, match in matches.items():
            groups = {group: text or "" for group, text in match.groupdict().items()}
            said = _said(name, groups, groups.get("tag", ""), time_form)
            found[name] = said.over(found[name])
    if table is not None:
        _refuse([name for name in names if name not in table], names, "stand in no row of the table")
        for name in names:
            found[name] = _said(name, table[name], table[name].get("tags", ""), time_form).over(found[name])
    return found


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """Reads a table as {name: {column: text}}; raises InputError where it is missing or no such table."""
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
    unknown = [column for column in header if column not in COLUMNS]
    if unknown or "name" not in header:
        wrong = f"a column {shown(unknown[0])!r}{did_you_mean(unknown[0], COLUMNS)}" if unknown else "no column name"
        raise InputError(f"{shown(path)} has {wrong}; columns are {', '.join(COLUMNS)}")
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines, 2):
        if not any(line):
            continue
        if len(line) != len(header):
            raise InputError(f"{shown(path)} row {number} has {len(line)} fields where the header has {len(header)}")
        row = {column: field.removeprefix("'") for column, field in zip(header, line, strict=True)}
        if rows.setdefault(row["name"], row) is not row:
            raise InputError(
                f"{shown(path)} row {number} names {shown(row['name'])!r} once more; remove one of the rows"
            )
    return rows


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
    return Labels(texts.get("camera", ""), time, person, tuple(tag for tag in tags.split(BETWEEN_TAGS) if tag))


def _refuse(wrong: Sequence[str], names: Sequence[str], what: str) -> None:
    if wrong:
        raise InputError(f"{len(wrong):,} of {len(names):,} images {what}: {first_few(wrong)}; mend it, or move these")
