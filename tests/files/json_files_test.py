"""JSON files: complete or not there, read with a line for what is wrong."""

import json

import pytest

from reid_jax.errors import InputError
from reid_jax.files import writing
from reid_jax.files.json_files import read_json, write_json


def test_write_json_leaves_the_old_file_where_the_new_one_fails(tmp_path, monkeypatch):
    file = tmp_path / "new" / "results.json"
    write_json(file, {"mAP": 0.5})
    assert read_json(file) == {"mAP": 0.5}
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]
    seen = []

    def interrupted(source, target):
        seen.append((json.loads(source.read_text()), json.loads(target.read_text())))
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(file, {"mAP": 0.75})
    # Complete beside the target before it takes the target's name, and nothing left behind.
    assert seen == [({"mAP": 0.75}, {"mAP": 0.5})]
    assert read_json(file) == {"mAP": 0.5}
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_json_has_null_for_what_is_not_finite(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [1.0, float("inf")], "c": {"d": (2, -float("inf"))}})
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail) == {
        "a": None,
        "b": [1.0, None],
        "c": {"d": [2, None]},
    }


def test_json_is_utf8(tmp_path):
    write_json(tmp_path / "a.json", {"name": "é"})
    assert "é".encode() in (tmp_path / "a.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"name": "é"}


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file/results\.json: .*writable folder"):
        write_json(tmp_path / "file" / "results.json", {})


def test_read_json_tells_absent_from_broken(tmp_path):
    assert read_json(tmp_path / "absent.json") is None
    deep, long = b"[" * 200_000, b"1" + b"0" * 5_000
    for content in (b"", b"{", b"\xff\xfe\x00", deep, long, b"[NaN]", b'{"a": -Infinity}'):
        (tmp_path / "broken.json").write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.json is (no JSON|nested deeper)"):
            read_json(tmp_path / "broken.json")
    with pytest.raises(InputError, match="cannot read"):
        read_json(tmp_path)
