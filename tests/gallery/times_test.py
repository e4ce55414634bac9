"""Times as people write them: dates with and without dashes, seconds, and what may be either."""

import datetime

import pytest

from reid_jax.errors import InputError
from reid_jax.gallery.times import seconds_of, time_text


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("20261129", "2026-11-29T00:00:00Z"),
        (" 2026-11-29 ", "2026-11-29T00:00:00Z"),
        ("20261129143005", "2026-11-29T14:30:05Z"),
        ("20261129_143005", "2026-11-29T14:30:05Z"),
        ("20261129T143005", "2026-11-29T14:30:05Z"),
        ("20261129-143005", "2026-11-29T14:30:05Z"),
        ("20261129T143005+0100", "2026-11-29T13:30:05Z"),
        ("2026-11-29T14:30+01:00", "2026-11-29T13:30:00Z"),
        ("1796049005", "2026-11-30T14:30:05Z"),
        ("1796049005.25", "2026-11-30T14:30:05.250Z"),
        ("2026.0", "1970-01-01T00:33:46Z"),
        ("000451", "1970-01-01T00:07:31Z"),  # a frame of Market-1501
        ("0", "1970-01-01T00:00:00Z"),
    ],
)
def test_dates_and_seconds(text, time):
    assert time_text(seconds_of(text)) == time


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "2026",
            r"'2026' may be a date or seconds since 1970; write the date as 2026-01-01, or the seconds as 2026\.0",
        ),
        ("202611", "write the date as 2026-11-01,"),
        ("202611291430", "write the date as 2026-11-29T14:30,"),
        ("20261329", "'20261329' is not a time such as 2026-11-29T14:30"),
        ("1_000", "'1_000' is not a time"),
        ("1_764_426_600", "is not a time"),
        ("1796049005000", "is not of the years 1 to 9999; give 2026-11-29T14:30"),  # milliseconds
        ("nan", "is not of the years 1 to 9999"),
        ("noon", "'noon' is not a time"),
        ("", "'' is not a time"),
    ],
)
def test_what_is_no_time_or_could_be_two_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        seconds_of(text)


def test_a_time_of_a_form():
    wanted = datetime.datetime(2026, 11, 29, 14, tzinfo=datetime.UTC).timestamp()
    assert seconds_of("29.11.2026 14h", "%d.%m.%Y %Hh") == wanted
    assert seconds_of("2026", "%Y") == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
    with pytest.raises(InputError, match=r"'x' is not a time of the form %Y"):
        seconds_of("x", "%Y")
