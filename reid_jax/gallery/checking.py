"""What is damaged in a gallery in a folder: everything is read and held against the facts."""

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from reid_jax.errors import InputError, first_few, shown
from reid_jax.gallery.crop_files import CropFiles
from reid_jax.gallery.entries import Facts
from reid_jax.gallery.facts_file import FactsFile
from reid_jax.gallery.vector_files import ROWS, VectorFiles
from reid_jax.progress import progress_bar

_AT_ONCE = 4096
_AGAIN = "erase these and add them again"


def checksum(vector: np.ndarray, crop: bytes) -> int:
    """CRC-32 of a vector's and a crop's bytes, which is kept with the facts."""
    return zlib.crc32(crop, zlib.crc32(np.ascontiguousarray(vector, "<f4").tobytes()))


def check_folder(
    folder: Path, facts: FactsFile, vectors: VectorFiles, crops: CropFiles, unfinished: Callable[[], list[int]]
) -> list[str]:
    """Returns what is damaged, a line for each kind of damage, with the ids and what to do.

    unfinished: gives the ids that a killed erasing has left.
    """
    try:
        with facts.reading() as database:
            lines = [*_in_sqlite(folder, database)]
            wrong = _in_entries(database, vectors, crops)
        left = unfinished()
        if left:
            lines.append(f"{_ids(left)}: an erasing was killed and has not ended; run reid-jax gallery erase again")
        with facts.reading() as database:  # as it is now: what was erased while it was checked is no damage
            there = {id for (id,) in database.execute("SELECT id FROM entries")} if wrong else set()
        for problem, ids in wrong.items():
            ids = [id for id in ids if id in there]
            if ids:
                lines.append(f"{_ids(ids)} in {shown(folder)}: {problem}; {_AGAIN}")
        return lines
    except InputError as error:  # damage at which SQLite gives up
        return [str(error)]


def _in_sqlite(folder: Path, database: sqlite3.Connection) -> Iterator[str]:
    """Damage of the file of facts alone."""
    found = [text for (text,) in database.execute("PRAGMA integrity_check(5)")]
    if found != ["ok"]:
        yield f"{shown(folder)}'s facts are damaged: {first_few(found, '; ')}; make the gallery again from the images"
    strays = [id for (id,) in database.execute("SELECT DISTINCT id FROM tags WHERE id NOT IN (SELECT id FROM entries)")]
    if strays:
        yield f"{_ids(strays)}: tags without an entry, the tables were changed by hand; delete them from tags"


def _in_entries(database: sqlite3.Connection, vectors: VectorFiles, crops: CropFiles) -> dict[str, list[int]]:
    """Entries whose facts, vectors or crops are not what was added: the ids of each kind of damage."""
    wrong: dict[str, list[int]] = {}
    (total,) = database.execute("SELECT count(*) FROM entries").fetchone()
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    last = row[0] if row else 0
    beyond = [id for (id,) in database.execute("SELECT id FROM entries WHERE id > ? OR id < 1", [last])]
    if beyond:
        wrong["ids that were never given, the tables were changed by hand"] = beyond
    with progress_bar(total, "check", "entries") as bar:
        after = 0
        while True:
            rows = database.execute(
                "SELECT id, source, digest, camera, time, person, crop_at, crop_bytes, checksum FROM entries "
                "WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                [after, last, _AT_ONCE],
            ).fetchall()
            if not rows:
                break
            after = rows[-1][0]
            ids = np.array([row[0] for row in rows], np.int64)
            there = vectors.take(ids, last)
            for (id, source, digest, camera, time, person, at, length, kept), vector in zip(rows, there, strict=True):
                problem = _problem(vectors, crops, id, vector, at, length, kept)
                if problem is None and not _can_be(source, digest, camera, time, person):
                    problem = "facts that reid_jax does not write, the tables were changed by hand"
                if problem:
                    wrong.setdefault(problem, []).append(id)
            bar.update(len(rows))
    return wrong


def _problem(
    vectors: VectorFiles, crops: CropFiles, id: int, vector: np.ndarray, at: int, length: int, kept: int
) -> str | None:
    block = (id - 1) // ROWS
    if not vector.any():
        name = vectors.path(block).name
        return f"no vector, {name} is missing, cut off or overwritten"
    crop = crops.read(block, at, length) if length else b""
    if len(crop) < length:
        return f"no crop, {crops.path(block).name} is missing or cut off"
    if checksum(vector, crop) != kept:
        return "a vector or a crop that is not the one that was added"
    return None


def _can_be(source: str, digest: str, camera: str, time: float | None, person: str) -> bool:
    try:
        Facts(source=source, digest=digest, camera=camera, time=time, person=person).check()
    except InputError:
        return False
    return True


def _ids(ids: list[int]) -> str:
    return f"{len(ids):,} {'entry' if len(ids) == 1 else 'entries'} (id {first_few(ids)})"
