"""Tables of plain text, columns aligned."""

from collections.abc import Collection, Sequence

from reid_jax.errors import one_line

_BETWEEN = "  "


def format_table(rows: Sequence[Sequence[object]], *, left: int = 1, rules: Collection[int] = ()) -> str:
    """Returns rows of cells as lines of text, a line each, without a line break at the end.

    Args:
      rows: cells, the same number in every row; the first row may hold the heads. A line break in a cell becomes '\\n'.
      left: how many columns, from the first on, are aligned to the left; the others, numbers, are aligned to the right.
      rules: the rows under which a line of dashes is drawn, counted from 0.

    Example:
      print(format_table([("part", "parameters"), ("stem", "432"), ("total", "432")], rules=[0, 1]))
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for number, row in enumerate(cells):
        aligned = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_BETWEEN.join(aligned).rstrip())
        if number in rules:
            lines.append("-" * (sum(widths) + len(_BETWEEN) * (len(widths) - 1)))
    return "\n".join(lines)
