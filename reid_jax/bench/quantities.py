"""Quantities as people read them."""


def format_seconds(seconds: float) -> str:
    """Three digits in seconds, milliseconds or microseconds: 1.24 s, 56.3 ms, 910 us."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{_three_digits(seconds * 1e6)} us"


def format_rate(rate: float) -> str:
    """Three digits at least, thousands separated: 24.6, 1,059."""
    return _three_digits(rate)


def format_bytes(count: float) -> str:
    """In GiB or MiB: 2.81 GiB, 423 MiB."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _three_digits(number: float) -> str:
    decimals = 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:,.{decimals}f}"
