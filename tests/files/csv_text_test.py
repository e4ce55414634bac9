"""CSV that no spreadsheet runs, and that reads back."""

import csv
import io
import pathlib

import pytest

from reid_jax.files.csv_text import csv_text, unshielded, write_csv

FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1_c1.jpg", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "'"]


@pytest.mark.parametrize("name", [*FORMULAS, "a.jpg", "", "a,b", 'a"b', "a\nb", "a\rb", "a\r\nb", "ü 人", " =1", "1=1"])
def test_names_read_back(name):
    text = csv_text([["name", "score"], [name, -0.5]])
    (_, (cell, score)) = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert unshielded(cell) == name
    assert score == "-0.5"
    assert (cell[:1] == "'") == (name in FORMULAS)
    assert text.startswith("name,score\n")
    assert text.endswith(",-0.5\n")


def test_numbers_and_nothing_stay_bare_and_paths_are_texts():
    assert csv_text([[-1, -1.5, None, True, pathlib.PurePosixPath("-a/b")]]) == "-1,-1.5,,True,'-a/b\n"


def test_a_file_holds_the_text_as_it_is(tmp_path):
    rows = [["name", "score"], ["a\r\nb,c", -0.5]]
    write_csv(tmp_path / "new" / "a.csv", rows)
    assert (tmp_path / "new" / "a.csv").read_bytes() == csv_text(rows).encode()
    with (tmp_path / "new" / "a.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["name", "score"], ["a\r\nb,c", "-0.5"]]


def test_an_apostrophe_of_a_name_stays():
    assert unshielded("'t Hooft") == "'t Hooft"
