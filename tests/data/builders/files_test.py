"""Folders and zips: the same listing and bytes from both, which files are images, and files that cannot be read."""

import os
import zipfile

import pytest
from made_sets import write_leavings, write_set, zipped

from reid_jax.data.builders.files import Entry, FileTree, is_image, left_out_note
from reid_jax.errors import InputError

FILES = {"a": ["2.jpg", "1.jpg"], "a/b": ["3.jpg"], "c": ["list.txt"]}


@pytest.fixture
def trees(tmp_path):
    folder = write_set(tmp_path / "set", FILES)
    return FileTree(folder), FileTree(zipped(folder, tmp_path / "set.zip", "deep/root/"), "deep/root/")


@pytest.mark.parametrize(
    ("names", "image"),
    [
        (
            ["a/b.JPG", "a.jpeg", "a.jpe", "a.JFIF", "a.gif", "a.ppm", "a.pgm", "a.tif", "a.webp", "ü.png"],
            True,
        ),
        (["a/._b.jpg", ".b.jpg", "a.jpg/b.txt", "jpg", "a.jpg~", "a.eps", "a.heic", "Thumbs.db", ".jpg"], False),
    ],
)
def test_is_image_goes_by_the_ending_but_not_for_what_is_hidden(names, image):
    assert [is_image(name) for name in names] == [image] * len(names)


def test_images_leave_out_the_hidden_and_say_so_in_a_zip_as_in_a_folder(tmp_path):
    folder = write_leavings(tmp_path / "set")
    for tree in (FileTree(folder), FileTree(zipped(folder, tmp_path / "set.zip", "deep/"), "deep/")):
        images, left_out = tree.images()
        assert [entry.name for entry in images] == ["cam1.jpg/a.jpg"]
        hidden = ["cam1.jpg/._a.jpg", ".thumbnails/", "__MACOSX/", "@eaDir/", "cam1.jpg/.hidden/", "cam1.jpg/Thumbs.db"]
        assert {name for name, why in left_out.items() if why == "hidden"} == {*hidden, ".git/"}
        assert {name for name, why in left_out.items() if why != "hidden"} == {"notes.txt", "b.heic"}
        shallow, left_out = tree.images(deep=False)
        assert (shallow, left_out["cam1.jpg/"]) == ([], "a folder within")
        assert sorted(tree.children("cam1.jpg")) == ["._a.jpg", ".hidden", "Thumbs.db", "a.jpg"]
        assert tree.children("nowhere") == []


def test_what_is_left_out_is_one_line():
    left_out = {f"{number}.txt": "no image by the ending" for number in range(7)} | {".a\nb/": "hidden"}
    message = "left out 7 (no image by the ending: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more), 1 (hidden: .a\\nb/)"
    assert left_out_note(left_out) == message
    assert left_out_note({}) == ""


def test_links_to_folders_are_followed_but_for_those_without_end(tmp_path):
    folder = write_set(tmp_path / "set", {"a": ["1.jpg"], "b": []})
    (folder / "b" / "link").symlink_to(folder / "a")
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "self.txt").symlink_to(folder / "self.txt")
    images, left_out = FileTree(folder).images()
    assert [entry.name for entry in images] == ["a/1.jpg", "b/link/1.jpg"]
    assert left_out == {
        "a/loop/": "a link to a folder that it is in",
        "b/link/loop/": "a link to a folder that it is in",
        "self.txt": "no file",
    }


def test_a_zip_with_windows_separators_reads_as_any_other(tmp_path):
    folder = write_set(tmp_path / "set", FILES)
    tree = FileTree(zipped(folder, tmp_path / "set.zip", "set/", "\\"), "set/")
    assert tree.has_folder("a/b")
    assert not tree.has_file("a/b")
    sizes = [(entry.name, entry.size) for entry in FileTree(folder).walk()]
    assert [(entry.name, entry.size) for entry in tree.walk()] == sizes
    assert tree.read("a/1.jpg") == (folder / "a" / "1.jpg").read_bytes()
    with pytest.raises(InputError, match=r"has no member set/a/9\.jpg"):
        tree.read("a/9.jpg")


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


def test_dead_links_and_names_that_are_no_unicode_are_named(tmp_path):
    folder = write_set(tmp_path / "set", {"a": ["1.jpg"], "b": ["ö 人 x.jpg"]})
    assert [entry.name for entry in FileTree(folder).walk("b")] == ["b/ö 人 x.jpg"]
    (folder / "a" / "2.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match=r"1 image\(s\) in .*set are links that lead to no file: a/2\.jpg"):
        FileTree(folder).walk()
    (folder / "a" / "2.jpg").unlink()
    (folder / "a" / "2.jpg").symlink_to(folder / "a" / "1.jpg")
    assert len(FileTree(folder).walk("a")) == 2
    with open(os.fsencode(folder / "b") + b"/\xff.jpg", "wb") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"have names that are not Unicode \(UTF-8\): b/\\udcff.jpg"):
        FileTree(folder).walk()
