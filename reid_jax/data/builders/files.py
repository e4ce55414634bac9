"""The files of a data set, in a folder or inside a zip, and the search for them under their usual names."""

import contextlib
import dataclasses
import functools
import lzma
import os
import pathlib
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence

from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError

_DEEPEST_ROOT = 3  # folders of a zip above the data set's own


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image; macOS leaves '._' files beside them that are none."""
    return name.lower().endswith(IMAGE_ENDINGS) and not posixpath.basename(name).startswith("._")


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
        return (self.path / folder).is_dir()

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
        """Every file below `folder`, or only those in it where not `deep`, sorted by name.

        Raises InputError for a folder that cannot be read, and for an image that is a dead link or whose name is not
        Unicode: neither could be read or reported later.
        """
        folder = folder.rstrip("/")
        prefix = f"{folder}/" if folder else ""
        if self.inside_zip is not None:
            start = len(self.inside_zip)
            inside = self.inside_zip + prefix
            found = [
                Entry(name[start:], member.size, member.stamp)
                for name, member in self._zip.members.items()
                if name.startswith(inside) and (deep or "/" not in name[len(inside) :])
            ]
        else:
            found = list(_scan(os.fspath(self.path / folder), prefix, deep))
        return sorted(found, key=lambda entry: entry.name)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """Yields a function from a file's name to its bytes, which raises InputError for what cannot be read."""
        if self.inside_zip is None:
            yield self._read_file
            return
        with _open_zip(self.path) as archive:

            def read(name: str) -> bytes:
                member = self.inside_zip + name
                try:
                    return archive.read(member)
                except KeyError as error:
                    raise InputError(f"{self.path}: it has no member {member}; fetch the zip again") from error
                # The last two: a broken stream, and a password or a compression that Python does not know.
                except (zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, RuntimeError) as error:
                    raise InputError(
                        f"{self.path}: member {member} cannot be read ({error}); fetch the zip again"
                    ) from error

            yield read

    def read(self, name: str) -> bytes:
        """One file's bytes; raises InputError where it cannot be read."""
        with self.reader() as read:
            return read(name)

    def _read_file(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise InputError(f"{self.location(name)} cannot be read ({error.strerror}); fetch it again") from error

    @functools.cached_property
    def _zip(self) -> "_ZipListing":
        with _open_zip(self.path) as archive:
            members = {
                info.filename: Entry(info.filename, info.file_size, info.CRC)
                for info in archive.infolist()
                if not info.is_dir()
            }
        folders = set()
        for name in members:
            # Upwards until a folder is known: its parents are then as well.
            while (name := name.rpartition("/")[0]) not in folders:
                folders.add(name)
        return _ZipListing(members, folders | {""})


@dataclasses.dataclass(frozen=True)
class _ZipListing:
    members: dict[str, Entry]  # by their whole name
    folders: set[str]


def find_tree(
    data_dir: str | os.PathLike,
    *,
    title: str,
    is_root: Callable[[FileTree], bool],
    folders: Sequence[str],
    archives: Sequence[str],
    advice: str,
) -> FileTree:
    """Finds a data set in `data_dir`: that folder itself, a usual name below it, or a zip.

    Args:
      data_dir: the folder that holds the data sets, the data set's own folder, or its zip.
      title: the set's name in messages.
      is_root: whether a folder is the set's own.
      folders, archives: the usual names below `data_dir`, tried in this order after `data_dir` itself.
      advice: what to do where it is not found, the end of the message.

    Raises:
      InputError: nothing found; the message names every place looked at.
    """
    base = pathlib.Path(data_dir).expanduser()
    if base.is_file():
        if base.suffix.lower() != ".zip":
            raise InputError(f"data_dir {str(base)!r} is a file but not a zip; give a folder or the official zip")
        return _in_zip(base, title, is_root)
    for folder in (".", *folders):
        tree = FileTree(base / folder)
        if tree.path.is_dir() and is_root(tree):
            return tree
    for archive in archives:
        if (base / archive).is_file():
            return _in_zip(base / archive, title, is_root)
    looked = ", ".join(str(base / place) for place in (".", *folders, *archives))
    raise InputError(f"{title} not found; looked at {looked}; {advice}")


def _in_zip(path: pathlib.Path, title: str, is_root: Callable[[FileTree], bool]) -> FileTree:
    whole = FileTree(path, "")
    folders = sorted(whole._zip.folders, key=lambda folder: (folder.count("/"), folder))
    for folder in folders:
        if folder.startswith("__MACOSX") or folder.count("/") >= _DEEPEST_ROOT:
            continue
        tree = whole.below(folder) if folder else whole
        if is_root(tree):
            return tree
    raise InputError(f"{path}: it is not {title}; give the official zip or folder")


def _scan(folder: str, prefix: str, deep: bool) -> Iterator[Entry]:
    try:
        entries = os.scandir(folder)
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read ({error.strerror}); check its rights") from error
    with entries:
        for entry in entries:
            if entry.is_file():
                status = entry.stat()
                if is_image(entry.name) and not _is_unicode(entry.name):
                    raise InputError(f"file name {entry.name!r} in {folder} is not Unicode (UTF-8); rename the file")
                yield Entry(prefix + entry.name, status.st_size, status.st_mtime_ns)
            elif entry.is_dir():
                if deep and not entry.name.startswith("."):
                    yield from _scan(entry.path, f"{prefix}{entry.name}/", deep)
            elif is_image(entry.name):
                raise InputError(f"{entry.path} is a link that leads to no file; mend or remove it")


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python keeps bytes that are no UTF-8 as lone surrogates
        return False
    return True


def _open_zip(path: pathlib.Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} cannot be read as a zip ({error}); fetch it again or unpack it by hand") from error
