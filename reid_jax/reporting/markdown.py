"""Markdown in which text from elsewhere, such as a folder's name, is seen as it is."""

import re
from collections.abc import Sequence

from reid_jax.errors import shown

_LONGEST_CELL = 2000  # letters
_MARKUP = re.compile(r"[&<>|*`$\[\]\\~]|(?<![^\W_])_|_(?![^\W_])")  # a '_' within a word is none


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; what is written in a cell is seen as it is."""
    cells = [[escaped(cell) for cell in line] for line in (header, *lines)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    padded = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]])


def escaped(text: object) -> str:
    """One line of Markdown that shows `text`: what would be markup, a formula or a link in it is written as HTML."""
    line = shown(text, _LONGEST_CELL)
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", line)
