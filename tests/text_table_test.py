"""Tables of text: columns aligned by the widest cell, rules, one line a row."""

import pytest

from reid_jax.text_table import format_table


def test_the_first_column_is_aligned_to_the_left_and_numbers_to_the_right():
    table = format_table([("", "head"), ("row", 1), ("longer", "23456")])
    assert table == "         head\nrow         1\nlonger  23456"


def test_several_columns_of_words():
    table = format_table([("a", "done", "36.0 / 22.1"), ("bcd", "failed", "")], left=3)
    assert table == "a    done    36.0 / 22.1\nbcd  failed"


def test_rules_are_as_wide_as_the_table():
    lines = format_table([("part", "n"), ("stem", "432"), ("total", "432")], rules=(0, 1)).splitlines()
    assert lines == ["part     n", "----------", "stem   432", "----------", "total  432"]


def test_a_row_is_one_line_and_has_all_cells():
    assert len(format_table([["set", "rank-1"], ["a\nb", "1"]]).splitlines()) == 2
    with pytest.raises(ValueError, match="shorter|longer"):
        format_table([["a", "b"], ["c"]])
