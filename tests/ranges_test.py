"""What a value may be: what a range holds, how it reads an option, and the words of its message."""

import argparse

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.ranges import Numbers, Switch, Text, choice, real, require, whole

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("allowed", "held", "refused"),
    [
        (whole(1, 9), [1, 9, np.int64(3)], [0, 10, 2.0, True, "3", None, NAN, 10**6000]),
        (whole(32, 96, multiple=32), [32, 96], [0, 33, 128]),
        (real(0, 1), [0, 1, 0.5, np.float32(0.5)], [-1e-9, 1.1, NAN, INF, -INF, False, "0.5", None, 1j]),
        (real(0, 1, above=True, below=True), [1e-300, 0.5], [0, 1]),
        (Numbers(whole(1, 9), 2), [(1, 9)], [(1,), (1, 2, 3), (0, 1), (1, 2.0), ((1, 2), 3), [1, 2], 1, ("a", 1)]),
        (Numbers(real(0, 9)), [(), (1,), (1, 2.5, 3)], [(NAN,), (10,), None]),
        (choice(("a", "b")), ["a", "b"], ["", "A", None, 1, ["a"], {}]),
        (Switch(), [True, False], [1, 0, "True", None]),
        (Text(), ["", "a"], ["a\0", None, 1]),
        (Text(filled=True), ["a"], [""]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_range_holds_what_lies_within_and_its_message_is_one_short_line(allowed, held, refused):
    for value in held:
        assert allowed.holds(value)
        require("x", value, allowed)
    for value in refused:
        assert not allowed.holds(value)
        with pytest.raises(InputError) as caught:
            require("x", value, allowed)
        message = str(caught.value)
        assert message.startswith("x is ")
        assert message.endswith(f"; it takes {allowed}")
        assert len(message) < 400
        assert message.isprintable()


@pytest.mark.parametrize(
    ("allowed", "text"),
    [
        (whole(1, 4096), "a whole number from 1 to 4,096"),
        (whole(32, 1024, multiple=32), "a multiple of 32 from 32 to 1,024"),
        (real(0, 1, below=True), "a number from 0, below 1"),
        (real(0, 100, above=True), "a number above 0, at most 100"),
        (Numbers(whole(0, 64), 3), "3 whole numbers, each from 0 to 64"),
        (Numbers(whole(2, 8, multiple=2)), "multiples of 2, each from 2 to 8"),
        (choice(("a", "b")), "one of a, b"),
    ],
)
def test_the_words_of_a_range(allowed, text):
    assert str(allowed) == text


def test_an_option_reads_a_number_within_its_range():
    assert whole(1, 9)("9") == 9
    assert real(0, 1)("1e-3") == 1e-3
    for allowed, texts in (
        (whole(1, 9), ("0", "1.0", "x", "", "9" * 5000)),
        (real(0, 1), ("2", "nan", "inf", "1e999")),
    ):
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError, match="it takes a") as caught:
                allowed(text)
            assert len(str(caught.value)) < 300
