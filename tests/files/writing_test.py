"""Files and folders that are complete or not there, and what cannot be written: refused before long work."""

import os

import pytest

from reid_jax.errors import InputError
from reid_jax.files.writing import new_folder, replace_file, require_apart, require_writable, require_writable_folder


def fill(target, text, is_complete=lambda folder: True):
    with new_folder(target, is_complete) as folder:
        assert folder.parent == target.parent
        (folder / "a").write_text(text)
        (folder / "deep").mkdir()


def test_a_new_folder_is_whole_and_alone_and_readable_by_everybody(tmp_path):
    fill(tmp_path / "parent" / "set", "1")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "deep", "parent", "set"]
    assert (tmp_path / "parent" / "set").stat().st_mode & 0o777 == 0o755


def test_a_folder_whose_filling_fails_is_not_there(tmp_path):
    def fails():
        with new_folder(tmp_path / "set", lambda folder: True) as folder:
            (folder / "a").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("complete", "kept"), [(True, "theirs"), (False, "ours")])
def test_a_folder_that_another_process_wrote_meanwhile_stays_if_it_is_complete(tmp_path, complete, kept):
    target = tmp_path / "set"
    with new_folder(target, lambda folder: complete) as folder:
        (folder / "a").write_text("ours")
        target.mkdir()
        (target / "a").write_text("theirs")
    assert (target / "a").read_text() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_that_cannot_take_its_name_is_an_error(tmp_path):
    def write():
        with new_folder(tmp_path / "set", lambda folder: False):
            (tmp_path / "set").write_text("a file")

    with pytest.raises(OSError, match="set"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "a.txt"
    replace_file(file, lambda temporary: temporary.write_text("1"))

    def fails(temporary):
        temporary.write_text("half of")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(file, fails)
    assert file.read_text() == "1"
    assert [path.name for path in file.parent.iterdir()] == ["a.txt"]


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


def test_outputs_are_neither_inputs_nor_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("1")
    (tmp_path / "link.txt").symlink_to("in.txt")
    (tmp_path / "folder").mkdir()
    inputs = [("--in", "in.txt"), ("SOURCE", "folder"), ("--none", None), ("--absent", "absent.txt")]
    require_apart([("--out", "new.txt"), ("--other", "folder/new.txt"), ("--none", None)], inputs)
    for name, said in (
        ("in.txt", "is read as --in"),
        (tmp_path / "in.txt", "is read as --in"),
        ("link.txt", "is read as --in"),
        ("folder/../folder/", "is read as SOURCE"),
        ("folder/../absent.txt", "is read as --absent"),
    ):
        with pytest.raises(InputError, match=f"--out is .*, which {said}; give another") as caught:
            require_apart([("--out", name)], inputs)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="--other is ./new.txt, which --out writes, too"):
        require_apart([("--out", "new.txt"), ("--other", "./new.txt")], inputs)
