"""The facts of a gallery in a folder: one SQLite file in WAL mode, whose write lock is the gallery's.

A commit is on the disk when it returns (synchronous=FULL); what is deleted is overwritten (secure_delete).
"""

import contextlib
import errno
import os
import queue
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from reid_jax.errors import InputError, shown

VERSION = 1
_APPLICATION = 0x52454944  # 'REID', in the header of the file
_PATIENCE = 120.0  # seconds to wait for another writer; a batch of additions takes less than one

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL,
  digest TEXT NOT NULL,
  camera TEXT NOT NULL,
  time REAL,
  person TEXT NOT NULL,
  crop_at INTEGER NOT NULL,
  crop_bytes INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  UNIQUE (source, digest)
) STRICT;
CREATE INDEX entries_camera ON entries (camera);
CREATE INDEX entries_time ON entries (time);
CREATE INDEX entries_person ON entries (person);
CREATE TABLE tags (tag TEXT, id INTEGER REFERENCES entries (id), PRIMARY KEY (tag, id)) STRICT, WITHOUT ROWID;
CREATE INDEX tags_id ON tags (id);
CREATE TABLE crop_ends (block INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
CREATE TABLE erasing (id INTEGER PRIMARY KEY, crop_at INTEGER NOT NULL, crop_bytes INTEGER NOT NULL) STRICT;
"""


class FactsFile:
    """Connections to the file, one for each thread that is at work."""

    def __init__(self, path: Path):
        """Opens a file that `create` made; raises InputError where it is missing, foreign, damaged or newer."""
        self.path = path
        self._uri = f"{path.absolute().as_uri()}?mode=rw"  # wherever the process goes
        self._free: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        if not path.is_file():
            raise InputError(f"{shown(path.parent)} is no gallery: it has no {path.name}")
        with self.reading() as database:
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION:
            raise InputError(f"{shown(path)} is no file of a gallery's; name a folder that reid-jax gallery made")
        if version != VERSION:
            raise InputError(
                f"{shown(path.parent)} is a gallery of version {version}; this reid_jax reads {VERSION}: take a newer "
                "one"
            )

    @staticmethod
    def create(path: Path, meta: dict[str, str]) -> None:
        """Makes an empty file; raises OSError where it cannot be written."""
        database = sqlite3.connect(path, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(_SCHEMA)
            database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        except sqlite3.OperationalError as error:
            raise _as_system_error(error, path) from error
        finally:
            database.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the file as it is at its first query, whatever is written meanwhile."""
        with self._connection() as database:
            database.execute("BEGIN")
            try:
                yield database
            finally:
                database.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write; what it did is on the disk when the block ends, or undone by an error."""
        with self._connection() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'changes'")
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    def forget(self) -> None:
        """Rewrites the file without the room of what was deleted, and empties the log that stands beside it.

        It takes room for a second file beside this one, and for a third in SQLite's temporary folder.

        Raises InputError where another process reads from the log for minutes, OSError for a full disk.
        """
        with self._connection() as database:
            try:
                database.execute("VACUUM")
            except sqlite3.OperationalError as error:
                if _primary(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
                    raise
                place = f"{self.path}, or SQLite's temporary folder: SQLITE_TMPDIR names one with as much room"
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place) from error
            deadline = time.monotonic() + _PATIENCE
            # Busy at once, without waiting, where another process copies its own part of the log.
            while is_busy := database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
        if is_busy:
            raise InputError(
                f"what was erased still stands in {shown(self.path)}-wal, which another process reads; end it and "
                "erase once more"
            )

    def close(self) -> None:
        """Closes the connections."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._free.get_nowait()
        except queue.Empty:
            database = self._connect()
        is_sound = False
        try:
            yield database
            is_sound = True
        except sqlite3.OperationalError as error:
            raise _as_system_error(error, self.path) from error
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError) as error:  # of a value, not of the file
            raise InputError(
                f"{shown(self.path.parent)} cannot keep or find a value ({shown(error)}); give texts and plain numbers"
            ) from error
        except sqlite3.DatabaseError as error:
            raise _damaged(self.path, error) from error
        except InputError:
            is_sound = True
            raise
        finally:
            if is_sound:
                self._free.put(database)
            else:
                database.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            database = sqlite3.connect(
                self._uri, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA secure_delete = ON")
            database.execute("PRAGMA trusted_schema = OFF")
        except sqlite3.OperationalError as error:
            raise _as_system_error(error, self.path) from error
        except sqlite3.DatabaseError as error:
            raise _damaged(self.path, error) from error
        return database


_SYSTEM_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}


def _primary(error: sqlite3.OperationalError) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _as_system_error(error: sqlite3.OperationalError, path: Path) -> Exception:
    """What an error of SQLite's means: a full disk as the OSError it is, anything else as an InputError."""
    primary = _primary(error)
    if primary == sqlite3.SQLITE_BUSY:
        return InputError(f"{shown(path.parent)} is being written by another process; try again when it has ended")
    if primary == sqlite3.SQLITE_FULL:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if primary in _SYSTEM_ERRORS:
        words = os.strerror(_SYSTEM_ERRORS[primary])
        return InputError(
            f"{shown(path)} cannot be read or written ({words}; {shown(error)}); check the disk and rights"
        )
    return _damaged(path, error)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{shown(path)} is damaged or was changed by hand ({shown(error)}); see reid-jax gallery check, or make the "
        "gallery again"
    )
