"""Tables of plain text, columns aligned."""

from collections.abc import Sequence

from reid_jax.errors import one_line


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Aligns rows of cells under the first one, the heads: the first column to the left, the others to the right.

    A line break in a cell becomes '\\n'.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
