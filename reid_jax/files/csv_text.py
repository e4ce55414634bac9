"""Rows as CSV that a spreadsheet shows and never runs."""

import csv
import io
import numbers
import os
from collections.abc import Iterable, Sequence
from typing import Any

from reid_jax.files.writing import replace_file

# What begins a formula in one spreadsheet or another, the wide forms among them; and the mark itself, so that a text
# that began with one reads back as it was.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Returns rows as comma-separated lines that end in a line feed; None is an empty field.

    A text, not a number, that a spreadsheet would take for a formula gets an apostrophe before it, as does one that
    begins with an apostrophe: `unshielded` takes it away again.
    """
    lines = []
    for row in rows:
        line = io.StringIO()
        # With '\r\n' at its end a line's fields are quoted where they hold either of the two.
        csv.writer(line, lineterminator="\r\n").writerow([_shielded(field) for field in row])
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "".join(f"{line}\n" for line in lines)


def unshielded(field: str) -> str:
    """Returns a field that was read as it was before `csv_text`; the apostrophe of a name ('t Hooft) stays."""
    return field[1:] if field.startswith("'") and field[1:].startswith(_FORMULA) else field


def write_csv(path: str | os.PathLike, rows: Iterable[Sequence[Any]]) -> None:
    """Writes rows as `csv_text` has them, complete or not at all; raises InputError where it cannot be written."""
    text = csv_text(rows)
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def _shielded(field: Any) -> Any:
    if field is None or isinstance(field, numbers.Number):
        return field
    return f"'{field}" if str(field).startswith(_FORMULA) else str(field)
