"""Folders and zips: the same listing and bytes from both, the search for a root, and files that cannot be read."""

import os
import zipfile

import pytest
from made_sets import write_set

from reid_jax.data.builders.files import Entry, FileTree, find_tree, is_image
from reid_jax.errors import InputError

FILES = {"a": ["2.jpg", "1.jpg"], "a/b": ["3.jpg"], "c": ["list.txt"]}


def zipped(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


@pytest.fixture
def trees(tmp_path):
    folder = write_set(tmp_path / "set", FILES)
    return FileTree(folder), FileTree(zipped(folder, tmp_path / "set.zip", "deep/root/"), "deep/root/")


def test_is_image_goes_by_the_ending_but_not_for_what_macos_leaves():
    assert is_image("a/b.JPG")
    assert not is_image("a/._b.jpg")
    assert not is_image("a.jpg/b.txt")


def test_a_zip_lists_and_reads_as_its_folder_does(trees):
    folder, archive = trees
    for at, deep in (("", True), ("a", True), ("a", False), ("a/", False), ("a/b", True)):
        names = [entry.name for entry in folder.walk(at, deep)]
        assert names == sorted(names)
        assert [entry.name for entry in archive.walk(at, deep)] == names
        assert [entry.size for entry in archive.walk(at, deep)] == [entry.size for entry in folder.walk(at, deep)]
    assert [entry.name for entry in folder.walk("a", deep=False)] == ["a/1.jpg", "a/2.jpg"]
    for tree in trees:
        assert tree.has_folder("a")
        assert tree.has_folder("a/b")
        assert not tree.has_folder("a/1.jpg")
        assert tree.has_file("a/b/3.jpg")
        assert not tree.has_file("a/b")
        assert tree.entry("b") is None
        assert tree.entry("a/1.jpg") == Entry("a/1.jpg", len(tree.read("a/1.jpg")), tree.entry("a/1.jpg").stamp)
        assert tree.below("a").read("b/3.jpg") == folder.read("a/b/3.jpg")
        assert [entry.name for entry in tree.below("a").walk("b")] == ["b/3.jpg"]


def test_what_cannot_be_read_is_an_input_error_with_its_place(trees, tmp_path):
    folder, archive = trees
    with pytest.raises(InputError, match=r"a/9\.jpg cannot be read \(No such file"):
        folder.read("a/9.jpg")
    with pytest.raises(InputError, match=r"has no member deep/root/a/9\.jpg"):
        archive.read("a/9.jpg")
    with pytest.raises(InputError, match="folder .*nowhere cannot be read"):
        folder.walk("nowhere")
    (tmp_path / "text.zip").write_text("<html>")
    with pytest.raises(InputError, match="cannot be read as a zip"):
        FileTree(tmp_path / "text.zip", "").walk()


def test_a_damaged_member_is_named(tmp_path):
    folder = write_set(tmp_path / "set", {"a": ["1.jpg"]})
    path = zipped(folder, tmp_path / "set.zip")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("a/1.jpg").header_offset + 30 + len("a/1.jpg")
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"member a/1\.jpg cannot be read .*fetch the zip again"):
        FileTree(path, "").read("a/1.jpg")


def test_dead_links_and_names_that_are_no_unicode_are_told(tmp_path):
    folder = write_set(tmp_path / "set", {"a": ["1.jpg"], "b": ["ö 人 x.jpg"]})
    assert [entry.name for entry in FileTree(folder).walk("b")] == ["b/ö 人 x.jpg"]
    (folder / "a" / "2.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match=r"2\.jpg is a link that leads to no file"):
        FileTree(folder).walk()
    (folder / "a" / "2.jpg").unlink()
    (folder / "a" / "2.jpg").symlink_to(folder / "a" / "1.jpg")
    assert len(FileTree(folder).walk("a")) == 2
    with open(os.fsencode(folder / "b") + b"/\xff.jpg", "wb") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"'\\udcff.jpg' .*is not Unicode"):
        FileTree(folder).walk()


def search(data_dir):
    return find_tree(
        data_dir,
        title="Set",
        is_root=lambda tree: tree.has_folder("a") and tree.has_folder("c"),
        folders=("Set", "sets/Set"),
        archives=("Set.zip",),
        advice="buy it",
    )


@pytest.mark.parametrize("below", [".", "Set", "sets/Set"])
def test_find_tree_takes_the_folder_or_what_holds_it(tmp_path, below):
    folder = write_set(tmp_path / below, FILES)
    assert search(tmp_path).path.resolve() == folder.resolve()


@pytest.mark.parametrize("prefix", ["", "Set/", "one/two/Set/"])
def test_find_tree_looks_into_the_zip(tmp_path, prefix):
    path = zipped(write_set(tmp_path / "source", FILES), tmp_path / "Set.zip", prefix)
    for data_dir in (tmp_path, path):
        assert search(data_dir) == FileTree(path, prefix)


def test_find_tree_tells_where_it_looked(tmp_path):
    with pytest.raises(InputError, match=r"Set not found; looked at .*/sets/Set, .*Set\.zip; buy it"):
        search(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="is a file but not a zip"):
        search(tmp_path / "a.txt")
    write_set(tmp_path / "other", {"x": ["1.jpg"]})
    with pytest.raises(InputError, match="it is not Set"):
        search(zipped(tmp_path / "other", tmp_path / "Set.zip"))
