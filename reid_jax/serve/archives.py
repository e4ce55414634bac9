"""Zips that are being added, one after the other, while whoever sent them asks how far they are."""

import collections
import contextlib
import dataclasses
import queue
import secrets
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import BinaryIO

from reid_jax.data.builders.files import is_hidden, is_image
from reid_jax.errors import InputError, one_line, shown
from reid_jax.files.archive import open_archive, read_member
from reid_jax.gallery.adding import AddedImages
from reid_jax.serve.fields import sources_of
from reid_jax.serve.refusal import Refusal, full_disk

_KEPT = "what was added before stays; send the zip again for the rest"
_TIMES = 100  # what a zip's members may hold in all, of its size, as for data sets
_AT_ONCE = 64  # images between two looks at whether to stop; each such batch is confirmed by itself
_REMEMBERED = 100  # zips that are done
_MOST_REFUSED = 1000  # that are listed by name

Add = Callable[[list[str], Callable[[str], bytes]], AddedImages]  # adds images by their names, which the other reads


@dataclasses.dataclass
class Archive:
    """A zip and how far it is.

    state: 'waiting', 'adding', 'done', 'failed' (see `error`) or 'stopped'. done: images looked at, of `total`.
    new, known: of these, what was added or there already. refused: [(name, reason)], the first thousand.
    """

    id: str
    state: str = "waiting"
    done: int = 0
    total: int = 0
    new: int = 0
    known: int = 0
    refused: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    error: str = ""
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def is_open(self) -> bool:
        """Whether it still waits or is being added."""
        return self.state in ("waiting", "adding")


class Archives:
    """One thread that adds zips. `most` of them arrive, wait or are being added at once."""

    def __init__(self, most: int, photo_bytes: int):
        self._most, self._photo_bytes = most, photo_bytes
        self._arriving = 0
        self._all: collections.OrderedDict[str, Archive] = collections.OrderedDict()
        self._waiting: queue.SimpleQueue[tuple[Archive, BinaryIO, list[str], Add] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="archives", daemon=True)
        self._closed = threading.Event()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Ends the thread after the batch at work; waits at most `seconds` for it."""
        self._closed.set()
        self._waiting.put(None)
        self._thread.join(seconds)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Keeps a place for a zip while it arrives; raises Refusal (503) where there is none.

        The block ends with `submit`, or without where nothing came of it.
        """
        if self._arriving + sum(archive.is_open for archive in self._all.values()) >= self._most:
            raise Refusal(503, f"{self._most} zips arrive, wait or are being added already; try again later", wait=10)
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def submit(self, file: BinaryIO, members: list[str], add: Add) -> Archive:
        """Hands in a zip that has its `place`, and its `images`; the file is closed in the end."""
        archive = Archive(secrets.token_hex(8), total=len(members))
        self._all[archive.id] = archive
        while len(self._all) > _REMEMBERED and not next(iter(self._all.values())).is_open:
            self._all.popitem(last=False)
        self._waiting.put((archive, file, members, add))
        return archive

    def find(self, id: str) -> Archive:
        """The zip of that id; raises Refusal (404) where there is none, or it is forgotten."""
        if id not in self._all:
            raise Refusal(404, f"there is no zip {shown(id)} here, or it was done long ago")
        return self._all[id]

    def _work(self) -> None:
        while one := self._waiting.get():
            archive, file, members, add = one
            try:
                archive.state = "adding"
                archive.state = self._add(archive, file, members, add)
            except Exception as error:
                archive.error = _words(error)
                archive.state = "failed"
            finally:
                file.close()

    def _add(self, archive: Archive, file: BinaryIO, members: list[str], add: Add) -> str:
        """Adds it; returns the state that it ends in."""
        if self._ends(archive):
            return "stopped"
        row_of = sources_of(members)
        names = list(row_of)
        with open_archive(file, _TIMES) as opened:
            lock = threading.Lock()  # one file position for several threads

            def read(name: str) -> bytes:
                with lock:
                    return read_member(opened, members[row_of[name]], _TIMES, self._photo_bytes)

            for start in range(0, len(names), _AT_ONCE):
                if self._ends(archive):
                    return "stopped"
                part = add(names[start : start + _AT_ONCE], read)
                archive.new += part.new
                archive.known += part.known
                archive.refused += list(part.broken.items())[: _MOST_REFUSED - len(archive.refused)]
                archive.done += part.done
        return "done"

    def _ends(self, archive: Archive) -> bool:
        return archive.stop.is_set() or self._closed.is_set()


def images(file: BinaryIO) -> list[str]:
    """The names of the images in a zip, sorted; raises Refusal (422) where it is no zip or has none."""
    try:
        with open_archive(file, _TIMES) as opened:
            found = [member.filename for member in opened.infolist() if not member.is_dir()]
    except InputError as error:
        raise Refusal(422, f"the file {error}; send a zip of images") from error
    members = sorted({name for name in found if is_image(name) and not any(map(is_hidden, name.split("/")))})
    if not members:
        raise Refusal(422, "the zip holds no image, by the endings of the names in it")
    return members


def _words(error: Exception) -> str:
    if refusal := full_disk(error, _KEPT):
        return refusal.message
    if not isinstance(error, InputError):
        traceback.print_exception(error, file=sys.stderr)
        return "something went wrong in the server, which has printed it"
    return one_line(error)
