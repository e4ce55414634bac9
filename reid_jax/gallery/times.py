"""Times as people write them, and as a gallery keeps them: seconds since 1970 (UTC)."""

import datetime
import math

from reid_jax.errors import InputError, shown

_EXAMPLE = "2026-11-29T14:30, 2026-11-29T14:30:05+01:00 or seconds since 1970"


def seconds_of(text: str, form: str = "") -> float:
    """Returns the seconds of a time: ISO 8601, seconds since 1970, or the `form` that `strptime` takes.

    Without an offset it is in UTC. Raises InputError for what is no such time.
    """
    try:
        if form:
            time = datetime.datetime.strptime(text, form)
        else:
            try:
                seconds = float(text)
            except ValueError:
                time = datetime.datetime.fromisoformat(text)
            else:
                if not math.isfinite(seconds):
                    raise ValueError
                return seconds
        if time.tzinfo is None:
            time = time.replace(tzinfo=datetime.UTC)
        return time.timestamp()
    except (ValueError, OverflowError) as error:
        wanted = f"a time of the form {shown(form)}" if form else f"a time such as {_EXAMPLE}"
        raise InputError(f"{shown(text)!r} is not {wanted}") from error


def time_text(seconds: float | None) -> str:
    """Returns a time as ISO 8601 in UTC, '' for None; seconds where it is of no year from 1 to 9999."""
    if seconds is None:
        return ""
    try:
        time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return repr(seconds)
    return time.isoformat(timespec="milliseconds" if seconds % 1 else "seconds").replace("+00:00", "Z")
