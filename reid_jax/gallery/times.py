"""Times as people write them, and as a gallery keeps them: seconds since 1970 (UTC)."""

import datetime
import re

from reid_jax.errors import InputError, shown

_EXAMPLE = "2026-11-29T14:30, 2026-11-29T14:30:05+01:00, 20261129-143005 or seconds since 1970"
_FIRST, _END = -62_135_596_800.0, 253_402_300_800.0  # of the years 1 to 9999
_COMPACT = re.compile(r"(\d{8})(?:[_T-]?(\d{6}))?", re.ASCII)
_EITHER = re.compile(r"(19|20)\d\d((0[1-9]|1[0-2])(\d{6})?)?", re.ASCII)  # YYYY, YYYYMM and YYYYMMDDhhmm


def seconds_of(text: str, form: str = "") -> float:
    """Returns the seconds of a time: a date, seconds since 1970, or the `form` that `strptime` takes.

    A date is ISO 8601 (2026-11-29T14:30), YYYYMMDD, YYYYMMDDhhmmss, or these with '_', 'T' or '-' between. Without an
    offset it is in UTC. Any other number is seconds: ten digits (1796049000), a number with a point (2026.0), and few
    digits, such as a frame's number. Digits that may as well be a year, a month or minutes (2026, 202611, 202611291430)
    are refused.

    Raises InputError for what is no such time, or not of the years 1 to 9999.
    """
    try:
        seconds = _timestamp(datetime.datetime.strptime(text, form)) if form else _seconds(text.strip())
    except (ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        wanted = f"a time of the form {shown(form)}" if form else f"a time such as {_EXAMPLE}"
        raise InputError(f"{shown(text)!r} is not {wanted}") from error
    if not _FIRST <= seconds < _END:
        raise InputError(f"{shown(text)!r} is not of the years 1 to 9999; give {_EXAMPLE}")
    return seconds


def _seconds(text: str) -> float:
    """The seconds of a text without a form; a ValueError for what is neither a date nor a number."""
    if compact := _COMPACT.fullmatch(text):
        return _timestamp(datetime.datetime.strptime(f"{compact[1]}{compact[2] or '000000'}", "%Y%m%d%H%M%S"))
    if _EITHER.fullmatch(text):
        raise InputError(
            f"{shown(text)!r} may be a date or seconds since 1970; write the date as {_dashed(text)}, or the seconds "
            f"as {text}.0"
        )
    try:
        if "_" not in text:  # which float would pass over
            return float(text)
    except ValueError:
        pass
    return _timestamp(datetime.datetime.fromisoformat(text))


def _dashed(digits: str) -> str:
    """YYYY, YYYYMM or YYYYMMDDhhmm as a date that cannot be mistaken."""
    date = f"{digits[:4]}-{digits[4:6] or '01'}-{digits[6:8] or '01'}"
    return f"{date}T{digits[8:10]}:{digits[10:12]}" if len(digits) > 8 else date


def _timestamp(time: datetime.datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


def time_text(seconds: float | None) -> str:
    """Returns a time as ISO 8601 in UTC, '' for None; seconds where it is of no year from 1 to 9999."""
    if seconds is None:
        return ""
    try:
        time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return repr(seconds)
    return time.isoformat(timespec="milliseconds" if seconds % 1 else "seconds").replace("+00:00", "Z")
