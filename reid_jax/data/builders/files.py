"""The files of a data set, in a folder or inside a zip, and which of them are images."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import posixpath
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping

from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError, first_few
from reid_jax.files.archive import open_archive, read_member

# What systems leave beside pictures: macOS in zips, Synology's disk stations, Windows.
_LEAVINGS = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")
_HIDDEN, _OTHER_ENDING = "hidden", "no image by the ending"
_WITHIN, _LOOP, _NO_FILE = "a folder within", "a link to a folder that it is in", "no file"

# No image within `decode.MOST_PIXELS` and no list of a data set is larger, in a folder or a zip.
_LARGEST_FILE = 2**28
_TIMES = 100  # what a zip's members may hold in all, of its size: images hardly shrink, lists to a tenth


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is hidden by its own name, not by its path: macOS's '._' copies are."""
    name = posixpath.basename(name)
    return name.startswith(".") or name.lower() in _LEAVINGS


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image, by its ending; what is hidden is none."""
    return name.lower().endswith(IMAGE_ENDINGS) and not is_hidden(name)


def left_out_note(left_out: Mapping[str, str]) -> str:
    """One line on what `FileTree.images` left out: how many for each reason, and the first few; '' where nothing."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    counted = [f"{len(names):,} ({reason}: {first_few(names)})" for reason, names in by_reason.items()]
    return f"left out {', '.join(counted)}" if counted else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file: its name relative to the tree's root, '/' separated, and what changes when its content does."""

    name: str
    size: int  # bytes
    stamp: int  # modification time in ns, or the zip's CRC-32


@dataclasses.dataclass(frozen=True)
class FileTree:
    """A folder, or a zip and the folder inside it ('' or ending in '/') that counts as the root."""

    path: pathlib.Path
    inside_zip: str | None = None

    def location(self, name: str = "") -> str:
        """Where `name` is, as an error message tells it."""
        return str(self.path / (self.inside_zip or "") / name)

    def below(self, folder: str) -> "FileTree":
        """The tree whose root is a folder of this one."""
        if self.inside_zip is None:
            return FileTree(self.path / folder)
        tree = FileTree(self.path, f"{self.inside_zip}{folder}/")
        tree.__dict__["_zip"] = self._zip  # a listing of hundreds of thousands of members is read once
        return tree

    def has_folder(self, folder: str) -> bool:
        """Whether there is such a folder."""
        if self.inside_zip is not None:
            return (self.inside_zip + folder).rstrip("/") in self._zip.folders
        return os.path.isdir(self.path / folder)  # False for what may not be looked at

    def folders(self, deepest: int) -> list[str]:
        """The folders of a zip, the root '' among them, fewer than `deepest` below it, the shallowest first."""
        found = [folder for folder in self._zip.folders if folder.count("/") < deepest]
        shown = [folder for folder in found if not any(map(is_hidden, folder.split("/")))]
        return sorted(shown, key=lambda folder: (folder.count("/"), folder))

    def has_file(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.entry(name) is not None

    def entry(self, name: str) -> Entry | None:
        """The file's entry; None where there is no file of that name."""
        if self.inside_zip is not None:
            member = self._zip.members.get(self.inside_zip + name)
            return None if member is None else dataclasses.replace(member, name=name)
        try:
            status = os.stat(self.path / name)
        except (OSError, ValueError):  # the latter: a list may hold anything, a NUL too
            return None
        return Entry(name, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def walk(self, folder: str = "", deep: bool = True) -> list[Entry]:
        """Every file below `folder`, or only those in it where not `deep`, sorted by name; hidden folders are left out.

        Raises InputError for a folder that cannot be read, and for images that are dead links or whose names are not
        Unicode: neither could be read or reported later.
        """
        return self._listed(folder, deep, {})

    def images(self, folder: str = "", deep: bool = True) -> tuple[list[Entry], dict[str, str]]:
        """The images that `walk` finds, and what is left out beside them: {name, a folder's ending in '/': reason}."""
        left_out: dict[str, str] = {}
        images = []
        for entry in self._listed(folder, deep, left_out):
            if is_image(entry.name):
                images.append(entry)
            else:
                left_out[entry.name] = _HIDDEN if is_hidden(entry.name) else _OTHER_ENDING
        return images, left_out

    def children(self, folder: str = "") -> list[str]:
        """The names of the files and folders in a folder, '' the root; none where it cannot be read."""
        if self.inside_zip is not None:
            return self._zip.children.get((self.inside_zip + folder).rstrip("/"), [])
        try:
            return os.listdir(self.path / folder)
        except (OSError, ValueError):  # the latter: a name with a NUL
            return []

    def _listed(self, folder: str, deep: bool, left_out: dict[str, str]) -> list[Entry]:
        """What `walk` gives; folders, links and devices that are left out are added to `left_out`."""
        folder = folder.rstrip("/")
        prefix = f"{folder}/" if folder else ""
        if self.inside_zip is None:
            found = _scan(os.fspath(self.path / folder), prefix, deep, left_out)
        else:
            start = len(self.inside_zip)
            inside = self.inside_zip + prefix
            found = []
            for name, member in self._zip.members.items():
                if not name.startswith(inside):
                    continue
                closed = _closed(name[len(inside) :], deep)
                if closed is None:
                    found.append(Entry(name[start:], member.size, member.stamp))
                else:
                    left_out[prefix + closed[0]] = closed[1]
        return sorted(found, key=lambda entry: entry.name)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """Yields a function from a file's name to its bytes, which raises InputError for what cannot be read."""
        if self.inside_zip is None:
            yield self._read_file
            return
        with _open_zip(self.path) as archive:

            def read(name: str) -> bytes:
                try:
                    return read_member(archive, self._member(name), _TIMES, _LARGEST_FILE)
                except InputError as error:
                    raise InputError(f"{self.path}: {error}; fetch the zip again or unpack it by hand") from error

            yield read

    def read(self, name: str) -> bytes:
        """One file's bytes; raises InputError where it cannot be read."""
        with self.reader() as read:
            return read(name)

    def _member(self, name: str) -> str:
        """A file's name as the zip spells it."""
        member = self.inside_zip + name
        return self._zip.members[member].name if member in self._zip.members else member

    def _read_file(self, name: str) -> bytes:
        try:
            with open(self.path / name, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read() if size <= _LARGEST_FILE else b""
        except (OSError, ValueError) as error:
            raise InputError(f"{self.location(name)} cannot be read ({_reason(error)}); fetch it again") from error
        if size > _LARGEST_FILE:
            raise InputError(f"{self.location(name)} has {size:,} bytes; at most {_LARGEST_FILE:,} are read of a file")
        return data

    @functools.cached_property
    def _zip(self) -> "_ZipListing":
        with _open_zip(self.path) as archive:
            members = {}
            for info in archive.infolist():
                name = info.filename.replace("\\", "/")  # some programs on Windows write their own separator
                if not name.endswith("/"):
                    members[name] = Entry(info.filename, info.file_size, info.CRC)
        folders = set()
        for name in members:
            # Upwards until a folder is known: its parents are then as well.
            while (name := name.rpartition("/")[0]) not in folders:
                folders.add(name)
        return _ZipListing(members, folders | {""})


@dataclasses.dataclass(frozen=True)
class _ZipListing:
    members: dict[str, Entry]  # by their whole name, '/' separated; the entry's is as the zip spells it
    folders: set[str]

    @functools.cached_property
    def children(self) -> dict[str, list[str]]:
        """The names in each folder."""
        found: dict[str, list[str]] = {}
        for path in (*self.members, *self.folders - {""}):
            folder, _, name = path.rpartition("/")
            found.setdefault(folder, []).append(name)
        return found


def _closed(path: str, deep: bool) -> tuple[str, str] | None:
    """The first folder of a path that is not looked into, and why; None where all are."""
    end = path.find("/")
    while end >= 0:
        if is_hidden(path[:end]) or not deep:
            return path[: end + 1], _HIDDEN if is_hidden(path[:end]) else _WITHIN
        end = path.find("/", end + 1)
    return None


def _scan(root: str, prefix: str, deep: bool, left_out: dict[str, str]) -> list[Entry]:
    found, dead, strange = [], [], []
    # Folders to look into, each with the folders that it lies in: a link to one of those has no end.
    pending = [(root, prefix, frozenset())]
    while pending:
        folder, prefix, above = pending.pop()
        try:
            within = above | {_device_and_inode(folder)}
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"folder {folder} cannot be read ({error.strerror}); check its rights") from error
        for entry in entries:
            name = prefix + entry.name
            if is_folder(entry):
                if is_hidden(name) or not deep:
                    left_out[f"{name}/"] = _HIDDEN if is_hidden(name) else _WITHIN
                elif entry.is_symlink() and _device_and_inode(entry.path) in within:
                    left_out[f"{name}/"] = _LOOP
                else:
                    pending.append((entry.path, f"{name}/", within))
            elif (status := _file_status(entry)) is not None:
                found.append(Entry(name, status.st_size, status.st_mtime_ns))
                if is_image(name) and not _is_unicode(name):
                    strange.append(name)
            elif is_image(name) and entry.is_symlink():
                dead.append(name)
            else:
                left_out[name] = _NO_FILE
    for wrong, what in ((dead, "are links that lead to no file"), (strange, "have names that are not Unicode (UTF-8)")):
        if wrong:
            raise InputError(f"{len(wrong):,} image(s) in {root} {what}: {first_few(wrong)}; mend or remove them")
    return found


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # links that lead in a circle
        return False


def _file_status(entry: os.DirEntry) -> os.stat_result | None:
    """Of a file, or a link to one, its status; None for anything else, and for what was removed meanwhile."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _device_and_inode(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python keeps bytes that are no UTF-8 as lone surrogates
        return False
    return True


def _open_zip(path: pathlib.Path) -> zipfile.ZipFile:
    try:
        return open_archive(path, _TIMES)
    except InputError as error:
        raise InputError(f"{path} {error}; fetch it again or unpack it by hand") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)  # the latter: a NUL in a name
