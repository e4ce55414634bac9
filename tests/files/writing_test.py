"""Where files can be written: what is refused before long work, in one line."""

import os

import pytest

from reid_jax.errors import InputError
from reid_jax.files.writing import require_writable, require_writable_folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "name the place"),
        ("a.png", "must end in .json"),
        ("folder", "must end in .json"),
        ("folder.json", "it is a folder"),
        ("file.json/a.json", "Not a directory"),
        ("file.json/deeper/a.json", "Not a directory"),
        ("loop.json/a.json", "Too many levels"),
        (f"{'a' * 250}.json", "too long"),
        ("nul\0.json", "null"),
        ("pipe.json", "no plain file"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_and_nothing_made(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file.json").write_text("{}")
    (tmp_path / "loop.json").symlink_to("loop.json")
    os.mkfifo(tmp_path / "pipe.json")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=reason) as caught:
        require_writable("--json", f"{tmp_path}/{name}" if name else "", ".json")
    assert str(caught.value).startswith("--json is ")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "file.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("file.json")
    before = sorted(tmp_path.rglob("*"))
    for name in ("new.json", "new/deeper/a.JSON", "file.json", "link.json"):
        require_writable("--json", tmp_path / name, ".json")
    for name in ("new", "new/deeper", "."):
        require_writable_folder("--out", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    require_writable("--json", "new.json")
    require_writable_folder("--out", "new")
    assert sorted(tmp_path.rglob("*")) == before
    for name in ("file.json", "file.json/new"):
        with pytest.raises(InputError, match="--out is .*Not a directory"):
            require_writable_folder("--out", tmp_path / name)
