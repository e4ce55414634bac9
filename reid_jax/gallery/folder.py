"""A gallery in a folder: nothing to start, one machine.

  facts.sqlite   what is known of each entry, the weights' digest, thresholds (`facts_file`)
  vectors/       float32, memory-mapped (`vector_files`)
  crops/         small JPEGs (`crop_files`)

Adding: with SQLite's write lock, vectors and crops are written behind what is confirmed and brought to the disk; then
their facts are committed, which confirms them. What a killed add left behind is overwritten by the next one. Erasing:
the facts are moved to a list of what is being erased, which is committed; vectors and crops are overwritten with zeros
and brought to the disk; the file is rewritten and its log cut off; the list, of ids alone, is emptied. A killed erasing
goes on from its list with the next change.
"""

import contextlib
import fcntl
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.leftovers import size_of
from reid_jax.files.writing import new_folder
from reid_jax.gallery import blockwise, on_device
from reid_jax.gallery.calibration_text import calibration_of, text_of
from reid_jax.gallery.checking import check_folder, checksum
from reid_jax.gallery.crop_files import CropFiles
from reid_jax.gallery.entries import EVERYTHING, Added, Entry, Facts, Filter, Page, Summary, forms
from reid_jax.gallery.facts_file import VERSION, FactsFile
from reid_jax.gallery.gallery import Gallery
from reid_jax.gallery.kind import Kind
from reid_jax.gallery.vector_files import ROWS, VectorFiles
from reid_jax.tracking.thresholds import Calibration

FACTS = "facts.sqlite"
_FILTERS_KEPT = 16  # chosen rows that are remembered, of the last filters
_JPEG = b"\xff\xd8"
_LISTED = "(SELECT value FROM json_each(?))"  # any number of values in one

_COLUMNS = "id, source, digest, camera, time, person, crop_bytes"


def is_gallery(folder: Path) -> bool:
    """Whether a folder is a gallery."""
    return (folder / FACTS).is_file()


def create(folder: Path, kind: Kind) -> None:
    """Makes an empty gallery, complete or not at all; another process that makes the same is no error.

    Raises InputError where the folder cannot be written, or is there and holds other things.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{shown(folder)} is there and no gallery; name a new folder, or an empty one")
    meta = {"digest": kind.digest, "streams": json.dumps(kind.streams), "changes": "0"}
    try:
        with new_folder(folder, is_gallery) as temporary:
            FactsFile.create(temporary / FACTS, meta)
            for name in ("vectors", "crops"):
                (temporary / name).mkdir()
    except OSError as error:
        raise InputError(f"cannot make the gallery {shown(folder)}: {error.strerror or error}") from error


class FolderGallery(Gallery):
    """See the module, and `Gallery`."""

    def __init__(self, folder: Path):
        """Opens what `create` made; raises InputError where it is none, damaged or newer."""
        self.folder = folder.absolute()  # wherever the process goes
        self.address = str(folder)
        self._facts = FactsFile(folder / FACTS)
        with self._facts.reading() as database:
            meta = dict(database.execute("SELECT key, value FROM meta"))
        try:
            self.kind = Kind(meta["digest"], tuple(map(int, json.loads(meta["streams"]))))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{shown(folder / FACTS)} does not say which weights made its vectors") from error
        self._vectors = VectorFiles(self.folder / "vectors", self.dimensions)
        self._crops = CropFiles(self.folder / "crops")
        self._chosen: dict[Filter, tuple[int, np.ndarray | None]] = {}
        self._lock = threading.Lock()
        self._on_device = on_device.DeviceBlocks()

    def close(self) -> None:
        """See `Gallery`."""
        self._facts.close()

    # What is there ----------------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """See `Gallery`."""
        with self._facts.reading() as database:
            one = database.execute(
                "SELECT count(*), count(DISTINCT nullif(person, '')), total(crop_bytes > 0), min(time), max(time) "
                "FROM entries"
            ).fetchone()
            cameras = dict(database.execute("SELECT camera, count(*) FROM entries GROUP BY camera ORDER BY camera"))
            tags = dict(database.execute("SELECT tag, count(*) FROM tags GROUP BY tag ORDER BY tag"))
        return Summary(
            address=self.address,
            version=VERSION,
            entries=one[0],
            people=one[1],
            with_crop=int(one[2]),
            cameras=cameras,
            tags=tags,
            first=one[3],
            last=one[4],
            dimensions=self.dimensions,
            streams=self.kind.streams,
            digest=self.kind.digest,
            thresholds=self.thresholds,
            bytes=size_of(self.folder),
        )

    def count(self, where: Filter = EVERYTHING) -> int:
        """See `Gallery`."""
        condition, values = _condition(where)
        with self._facts.reading() as database:
            return database.execute(f"SELECT count(*) FROM entries WHERE {condition}", values).fetchone()[0]

    def page(self, where: Filter = EVERYTHING, *, after: int = 0, limit: int = 100) -> Page:
        """See `Gallery`."""
        condition, values = _condition(where)
        with self._facts.reading() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE id > ? AND {condition} ORDER BY id LIMIT ?",
                [int(after), *values, int(limit) + 1],
            ).fetchall()
            entries = _with_tags(database, rows[:limit])
        return Page(tuple(entries), entries[-1].id if len(rows) > limit else None)

    def crop(self, id: int) -> bytes | None:
        """See `Gallery`."""
        with self._facts.reading() as database:
            row = database.execute("SELECT crop_at, crop_bytes FROM entries WHERE id = ?", [int(id)]).fetchone()
        crop = self._crops.read((id - 1) // ROWS, *row) if row and row[1] else b""
        return crop if crop.startswith(_JPEG) else None  # zeros where it was erased meanwhile

    def known(self, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """See `Gallery`."""
        with self._facts.reading() as database:
            return _known(database, keys)

    def vectors(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `Gallery`."""
        there, last = self._there(ids)
        vectors = self._vectors.take(there, last)
        still = np.isin(there, self._there(there.tolist())[0])  # rows may have been erased while they were read
        there, vectors = there[still], vectors[still]
        missing = there[~vectors.any(1)]
        if len(missing):
            raise self._damaged(missing)
        return there, vectors

    def _there(self, ids: Sequence[int]) -> tuple[np.ndarray, int]:
        """(those of `ids` that are there, int64, ascending; the highest id that was ever given)."""
        with self._facts.reading() as database:
            there = [id for (id,) in _by_ids(database, "SELECT id FROM entries WHERE id", ids)]
            return np.array(sorted(there), np.int64), _last_id(database)

    def _damaged(self, ids: np.ndarray) -> InputError:
        path = self._vectors.path(int(ids[0] - 1) // ROWS)
        return InputError(
            f"{shown(path)} is damaged: it lacks vectors that are known (id {first_few(ids.tolist())}); see reid-jax "
            f"gallery check --gallery={shown(self.address)}"
        )

    def _entries(self, ids: Sequence[int]) -> Iterable[Entry]:
        with self._facts.reading() as database:
            return _with_tags(database, list(_by_ids(database, f"SELECT {_COLUMNS} FROM entries WHERE id", ids)))

    def _candidates(
        self, embedding: np.ndarray, k: int, where: Filter, approximate: bool, besides: Sequence[str]
    ) -> list[np.ndarray]:
        with self._facts.reading() as database:
            last = _last_id(database)
            chosen = self._chosen_ids(database, where)
            if besides:
                meant = np.ones(last + 1, bool)
                names = [json.dumps([form for name in besides for form in forms(name)])]
                theirs = database.execute(f"SELECT id FROM entries WHERE person IN {_LISTED}", names)
                meant[np.fromiter((id for (id,) in theirs), np.int64)] = False
                chosen = np.flatnonzero(meant)[1:] if chosen is None else chosen[meant[chosen]]
        search = self._on_device.largest if on_device.has_accelerator() else blockwise.largest
        return search(embedding, self._blocks(chosen, last), k)

    def _blocks(self, chosen: np.ndarray | None, last: int):
        """What `blockwise.largest` takes, of the ids `chosen` (None: all) up to `last`."""
        for block in range(-(-last // ROWS)):
            first = block * ROWS + 1
            meant = None
            if chosen is not None:
                start, end = np.searchsorted(chosen, [first, first + ROWS])
                if start == end:
                    continue
                meant = chosen[start:end] - first
            count = min(ROWS, last - block * ROWS)
            rows = self._vectors.rows(block, count)
            if len(rows) <= (count - 1 if meant is None else meant[-1]):  # missing, or cut off
                meant = np.arange(count) if meant is None else meant
                left = self._there((meant[meant >= len(rows)] + first).tolist())[0]
                if len(left):
                    raise self._damaged(left)
                meant = meant[meant < len(rows)]  # the others were erased meanwhile, and their file with them
            yield first, rows, meant

    def _chosen_ids(self, database: sqlite3.Connection, where: Filter) -> np.ndarray | None:
        """The ids int64 that `where` leaves, ascending; None where these are all from 1 to the last."""
        changes = int(database.execute("SELECT value FROM meta WHERE key = 'changes'").fetchone()[0])
        with self._lock:
            kept = self._chosen.get(where)
        if kept is not None and kept[0] == changes:
            return kept[1]
        condition, values = _condition(where)
        chosen = None
        if where or database.execute("SELECT count(*) FROM entries").fetchone()[0] != _last_id(database):
            rows = database.execute(f"SELECT id FROM entries WHERE {condition} ORDER BY id", values)
            chosen = np.fromiter((id for (id,) in rows), np.int64)
        with self._lock:
            self._chosen.pop(where, None)
            self._chosen[where] = (changes, chosen)
            while len(self._chosen) > _FILTERS_KEPT:
                del self._chosen[next(iter(self._chosen))]
        return chosen

    # Thresholds -------------------------------------------------------------------------------------------------------

    @property
    def calibration(self) -> Calibration | None:
        """See `Gallery`."""
        with self._facts.reading() as database:
            row = database.execute("SELECT value FROM meta WHERE key = 'calibration'").fetchone()
        return calibration_of(row[0], self.address) if row else None

    def _attach(self, calibration: Calibration) -> None:
        with self._facts.writing() as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('calibration', ?)", [text_of(calibration)])

    # Changes ----------------------------------------------------------------------------------------------------------

    def _add(self, facts: Sequence[Facts], embedding: np.ndarray, crops: Sequence[bytes | None]) -> Added:
        self._finish_erasing()
        with self._facts.writing() as database:
            known = _known(database, [each.key for each in facts])
            new: dict[tuple[str, str], int] = {}
            for row, each in enumerate(facts):
                if each.key not in known:
                    new.setdefault(each.key, row)
            rows = list(new.values())
            if not rows:
                return Added((), len(facts))
            first = _last_id(database) + 1
            self._vectors.trim(first - 1)
            self._vectors.write(first, embedding[rows])
            places = self._write_crops(database, first, [crops[row] or b"" for row in rows])
            ids = range(first, first + len(rows))
            database.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (id, facts[row].source, facts[row].digest, facts[row].camera, facts[row].time, facts[row].person)
                    + (at, len(crops[row] or b""), checksum(embedding[row], crops[row] or b""))
                    for id, row, at in zip(ids, rows, places, strict=True)
                ],
            )
            database.executemany(
                "INSERT INTO tags VALUES (?, ?)",
                [(tag, id) for id, row in zip(ids, rows, strict=True) for tag in facts[row].tags],
            )
        return Added(tuple(ids), len(facts) - len(rows))

    def _write_crops(self, database: sqlite3.Connection, first: int, crops: Sequence[bytes]) -> list[int]:
        """Writes the crops of the ids `first` and on; returns where each begins in its file."""
        places: list[int] = []
        while len(places) < len(crops):
            block, start = divmod(first + len(places) - 1, ROWS)
            part = crops[len(places) : len(places) + ROWS - start]
            row = database.execute("SELECT at FROM crop_ends WHERE block = ?", [block]).fetchone()
            end = row[0] if row else 0
            places += self._crops.write(block, end, part)
            database.execute("INSERT OR REPLACE INTO crop_ends VALUES (?, ?)", [block, end + sum(map(len, part))])
        return places

    def _erase(self, where: Filter) -> int:
        condition, values = _condition(where)
        with _locked(self.folder / ".erasing", wait=True):  # so that what is listed without it was left by a killed one
            with self._facts.writing() as database:
                ids = self._list(database, condition, values)
            self._end_erasing()
        return len(ids)

    def _list(self, database: sqlite3.Connection, condition: str, values: Sequence[object]) -> list[int]:
        """Moves entries to what is being erased; returns their ids."""
        ids = [id for (id,) in database.execute(f"SELECT id FROM entries WHERE {condition}", values)]
        these = [json.dumps(ids)]
        database.execute(
            f"INSERT INTO erasing SELECT id, crop_at, crop_bytes FROM entries WHERE id IN {_LISTED}", these
        )
        database.execute(f"DELETE FROM tags WHERE id IN {_LISTED}", these)
        database.execute(f"DELETE FROM entries WHERE id IN {_LISTED}", these)
        return ids

    def _finish_erasing(self) -> None:
        """Ends an erasing that was killed; one that another process is at is left to that."""
        if self._listed():
            with _locked(self.folder / ".erasing", wait=False) as is_mine:
                if is_mine:
                    self._end_erasing()

    def _end_erasing(self) -> None:
        """Overwrites what is listed as being erased, by this process or one that was killed; who calls has the lock."""
        listed = self._listed()
        if not listed:
            return
        with self._facts.writing() as database:
            self._overwrite(database, listed)
        self._facts.forget()
        ids = json.dumps([id for id, _, _ in listed])
        with self._facts.writing() as database:  # last: a process that is killed before has not ended it
            database.execute(f"DELETE FROM erasing WHERE id IN {_LISTED}", [ids])
        with self._lock:
            self._chosen.clear()
        self._on_device.forget()

    def has_unfinished_erasing(self) -> bool:
        """See `Gallery`."""
        return bool(self._unfinished())

    def _unfinished(self) -> list[int]:
        """The ids that a killed erasing has left, while no other process is at it."""
        if not self._listed():
            return []
        with _locked(self.folder / ".erasing", wait=True):
            return [id for id, _, _ in self._listed()]

    def _listed(self) -> list[tuple[int, int, int]]:
        """(id, where its crop begins, bytes of that) of what is being erased."""
        with self._facts.reading() as database:
            return database.execute("SELECT id, crop_at, crop_bytes FROM erasing ORDER BY id").fetchall()

    def _overwrite(self, database: sqlite3.Connection, listed: Sequence[tuple[int, int, int]]) -> None:
        """Writes zeros over vectors and crops, and removes files of nothing else."""
        last = _last_id(database)
        self._vectors.trim(last)
        self._crops.trim(dict(database.execute("SELECT block, at FROM crop_ends")))
        self._vectors.zero([id for id, _, _ in listed])
        pieces: dict[int, list[tuple[int, int]]] = {}
        for id, at, length in listed:
            pieces.setdefault((id - 1) // ROWS, []).append((at, length))
        for block, those in pieces.items():
            self._crops.zero(block, those)
            first = block * ROWS + 1
            left = database.execute(
                "SELECT 1 FROM entries WHERE id BETWEEN ? AND ? LIMIT 1", [first, first + ROWS - 1]
            ).fetchone()
            if left is None and last >= first + ROWS - 1:  # no more will be written into it
                self._vectors.drop(block)
                self._crops.drop(block)

    def check(self) -> list[str]:
        """See `Gallery`."""
        return check_folder(Path(self.address), self._facts, self._vectors, self._crops, self._unfinished)


def _condition(where: Filter) -> tuple[str, list[object]]:
    """A filter as a condition of SQL over `entries`, and the values in it."""
    parts, values = ["TRUE"], []
    for column, names in (("id", where.ids), ("camera", where.cameras), ("person", where.people)):
        if names:
            parts.append(f"{column} IN {_LISTED}")
            values.append(json.dumps(names if column == "id" else [form for name in names for form in forms(name)]))
    for tag in where.tags:
        parts.append(f"id IN (SELECT id FROM tags WHERE tag IN {_LISTED})")
        values.append(json.dumps(forms(tag)))
    for sign, bound in ((">=", where.since), ("<", where.until)):
        if bound is not None:
            parts.append(f"time {sign} ?")
            values.append(bound)
    return " AND ".join(parts), values


@contextlib.contextmanager
def _locked(path: Path, wait: bool) -> Iterator[bool]:
    """Holds the lock of a file, which ends with the process; gives False where another has it and `wait` is False."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _last_id(database: sqlite3.Connection) -> int:
    """The highest id that was ever given; 0 for none."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return row[0] if row else 0


def _by_ids(database: sqlite3.Connection, select: str, ids: Sequence[int]) -> Iterable[tuple]:
    """The rows of a statement that ends before `IN (ids)`."""
    return database.execute(f"{select} IN {_LISTED}", [json.dumps(list(map(int, ids)))])


def _known(database: sqlite3.Connection, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    found = set()
    for source, digest in keys:
        those = [json.dumps(forms(source)), digest]
        if database.execute(f"SELECT 1 FROM entries WHERE source IN {_LISTED} AND digest = ?", those).fetchone():
            found.add((source, digest))
    return found


def _with_tags(database: sqlite3.Connection, rows: Sequence[tuple]) -> list[Entry]:
    tags: dict[int, list[str]] = {}
    for tag, id in _by_ids(database, "SELECT tag, id FROM tags WHERE id", [row[0] for row in rows]):
        tags.setdefault(id, []).append(tag)
    return [
        Entry(
            id=id,
            source=source,
            digest=digest,
            camera=camera,
            time=time,
            person=person,
            tags=tuple(tags.get(id, ())),
            has_crop=crop_bytes > 0,
        )
        for id, source, digest, camera, time, person, crop_bytes in rows
    ]
