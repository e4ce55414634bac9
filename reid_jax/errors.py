"""The exception for what a user handed in, and how its message names things: one line, the first few, the nearest."""

import difflib
import errno
import os
from collections.abc import Iterable, Sequence

_FEW = 5
_LONGEST = 200  # letters of a name that a message shows


class InputError(ValueError):
    """Something handed in is wrong: the message tells what, where, which value and what to do, in one line.

    The command line prints the message without a traceback and exits with 2; library callers catch it as
    the `ValueError` that it is.
    """


def one_line(text: object) -> str:
    r"""Returns a text as one line: a line break becomes '\n', as does whatever else a terminal would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def shown(name: object, longest: int = _LONGEST) -> str:
    """Returns a name as `one_line` does, of bounded length: the middle of a long one is cut."""
    text = one_line(name)
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def first_few(names: Sequence[object], separator: str = ", ") -> str:
    """Returns the first five names, each as `shown`, and how many more there are: 'a, b, c, d, e and 7 more'."""
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return separator.join(shown(name) for name in names[:_FEW]) + more


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the one of `known` that `word` may be a slip for, letter case aside; None where none is close."""
    by_folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, 1, 0.5)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns '; did you mean X?', the end of a message about an unknown `word`; '' where nothing known is close."""
    close = nearest(word, known)
    return f"; did you mean {close}?" if close else ""


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def disk_failure(error: BaseException) -> str | None:
    """Returns the system's words for a full, read-only or failing disk that stands behind an error; None for any other.

    Libraries raise errors of their own for it, which only quote the system's words.
    """
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    for one in seen:
        number = one.errno if isinstance(one, OSError) else None
        for known in _DISK:
            if number == known or (number is None and os.strerror(known) in str(one)):
                place = f" ({shown(one.filename)})" if number and one.filename else ""
                return f"{os.strerror(known)}{place}"
    return None
