"""A gallery on a PostgreSQL server with pgvector: the same calls, for several machines at once.

A database holds one gallery, in the schema `reid_jax`: `entries` (facts and vectors), `crops`, `meta`. Writers wait for
each other at the row 'last' of `meta`, so ids come in the order of commits. Needs the extra `postgres` (psycopg).
"""

import contextlib
import json
import queue
import re
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from reid_jax.errors import InputError, first_few, shown
from reid_jax.gallery.calibration_text import calibration_of, text_of
from reid_jax.gallery.checking import checksum
from reid_jax.gallery.entries import EVERYTHING, Added, Entry, Facts, Filter, Page, Summary, forms
from reid_jax.gallery.gallery import Gallery
from reid_jax.gallery.kind import Kind
from reid_jax.progress import announce, progress_bar
from reid_jax.tracking.thresholds import Calibration

try:
    import pgvector.psycopg
    import psycopg
except ImportError as missing:
    raise InputError(
        "a gallery on PostgreSQL needs psycopg and pgvector; pip install 'reid_jax[postgres]'"
    ) from missing

VERSION = 1
_MOST_INDEXED = 2000  # numbers of a vector, of pgvector's HNSW
_MOST_LIST = 1000  # what hnsw.ef_search takes
_CREATING = 0x52454944  # number of the lock under which the tables are made
_ERASING = _CREATING + 1  # that of the lock under which entries are erased
_UNFINISHED = "erasing"  # the key in `meta` of an erasing that has begun and not ended
_AGAIN_SECONDS = 0.05
_CONNECT_SECONDS = 10

_COLUMNS = "id, source, digest, camera, time, person, tags, has_crop"

_SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS reid_jax;
CREATE TABLE reid_jax.meta (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE reid_jax.entries (
  id bigint PRIMARY KEY,
  source text NOT NULL,
  digest text NOT NULL,
  camera text NOT NULL,
  time double precision,
  person text NOT NULL,
  tags text[] NOT NULL,
  has_crop boolean NOT NULL,
  checksum bigint NOT NULL,
  vector vector(%d) NOT NULL
);
CREATE TABLE reid_jax.crops (id bigint PRIMARY KEY REFERENCES reid_jax.entries ON DELETE CASCADE, jpeg bytea NOT NULL);
CREATE UNIQUE INDEX entries_key ON reid_jax.entries (digest, md5(source));
CREATE INDEX entries_camera ON reid_jax.entries (camera);
CREATE INDEX entries_time ON reid_jax.entries (time);
CREATE INDEX entries_person ON reid_jax.entries (person);
CREATE INDEX entries_tags ON reid_jax.entries USING gin (tags);
"""


def open_server(address: str, create: Kind | None) -> "PostgresGallery":
    """Opens the gallery in a database; where there is none, makes an empty one of kind `create`.

    Raises InputError where there is none and `create` is None, or the server cannot be reached or does not allow it.
    """
    server = _Server(address)
    try:
        with server.connection() as database:
            if not _is_gallery(database):
                if create is None:
                    raise InputError(
                        f"there is no gallery in {server.name}; make one by reid-jax gallery add "
                        f"--gallery={server.name} --weights=WEIGHTS --images=FOLDER"
                    )
                _create(database, create)
        server.knows_vectors = True
        return PostgresGallery(server)
    except InputError:
        server.close()
        raise


def _is_gallery(database: "psycopg.Connection") -> bool:
    # From the catalogue: `to_regclass` may answer in a transaction what it knew before another process made the table.
    meta = "SELECT 1 FROM pg_tables WHERE schemaname = 'reid_jax' AND tablename = 'meta'"
    return database.execute(meta).fetchone() is not None


def _create(database: "psycopg.Connection", kind: Kind) -> None:
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(%s)", [_CREATING])
        if _is_gallery(database):  # another process was sooner
            return
        database.execute(_SCHEMA % kind.dimensions)
        meta = {"version": VERSION, "digest": kind.digest, "streams": json.dumps(kind.streams), "last": 0}
        for key, value in meta.items():
            database.execute("INSERT INTO reid_jax.meta VALUES (%s, %s)", [key, str(value)])


class _Server:
    """Connections to a database, one for each thread that is at work; its errors as InputErrors of one line."""

    def __init__(self, address: str):
        self._address = address
        self._free: queue.LifoQueue[psycopg.Connection] = queue.LifoQueue()
        self.name = shown(without_password(address))
        self.knows_vectors = False  # once the extension is there

    @contextlib.contextmanager
    def connection(self) -> Iterator["psycopg.Connection"]:
        """A connection on which each statement is committed by itself, outside of `transaction()`."""
        try:
            with self._taken() as database:
                yield database
        except psycopg.errors.InsufficientPrivilege as error:
            raise InputError(f"{self.name} does not allow it: {_words(error)}; ask its administrator") from error
        except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory) as error:
            raise InputError(f"{self.name} is full: {_words(error)}; make room there and try again") from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()  # the other connections are as dead where the server was started again
            raise InputError(
                f"{self.name} cannot be reached, or went away: {_words(error)}; what was reported as added is kept, "
                "the same command goes on from there"
            ) from error
        except psycopg.Error as error:
            raise InputError(
                f"{self.name} refused ({_words(error)}); its tables may have been changed by hand, or pgvector is "
                "missing or too old"
            ) from error

    @contextlib.contextmanager
    def _taken(self) -> Iterator["psycopg.Connection"]:
        database = self._reusable() or self._connect()
        try:
            if self.knows_vectors and not hasattr(database, "_reid_jax_vectors"):
                pgvector.psycopg.register_vector(database)
                database._reid_jax_vectors = True
            yield database
        except BaseException:
            database.close()
            raise
        self._free.put(database)

    def _reusable(self) -> "psycopg.Connection | None":
        with contextlib.suppress(queue.Empty):
            return self._free.get_nowait()
        return None

    def _connect(self) -> "psycopg.Connection":
        try:
            return psycopg.connect(self._address, autocommit=True, connect_timeout=_CONNECT_SECONDS)
        except psycopg.ProgrammingError:  # no address, and its message quotes what it stumbled over
            pass
        except psycopg.Error:
            if not _misread_password(self._address):
                raise
        raise InputError(f"{self.name} cannot be reached; in its password write '@' as %40, '/' as %2F and '%' as %25")

    def close(self) -> None:
        """Closes the connections."""
        while (database := self._reusable()) is not None:
            database.close()


def without_password(address: str) -> str:
    """Returns a server's address as messages show it: without what may be its password, nor its options."""
    scheme, _, rest = address.partition("://")
    head, slash, tail = rest.partition("/")
    path = tail.partition("?")[0]
    login, at, host = head.rpartition("@")  # the last '@': a password may hold others, and '?' and '#'
    user = login.partition(":")[0]
    place = re.split("[?#]", f"{host}{slash}{path}", maxsplit=1)[0]
    # Such a '@' is one of an option's value, or of a password that holds a '/'.
    unsure = "@" in path or ("@" in tail and not at) or set(user) & set("?#") or set(place) & set("=&")
    return f"{scheme}://…" if unsure else f"{scheme}://{user}{at}{place}"


def _misread_password(address: str) -> bool:
    """Whether a password holds what PostgreSQL takes for its end, so that its messages show the rest as a host."""
    head, _, tail = address.partition("://")[2].partition("/")
    return head.count("@") > 1 or "@" in tail.partition("?")[0]


def _words(error: "psycopg.Error") -> str:
    return shown(" ".join(str(error).split()) or type(error).__name__)


class PostgresGallery(Gallery):
    """See the module, and `Gallery`; made by `open_server`."""

    def __init__(self, server: _Server):
        """Raises InputError for a gallery that is newer, or whose tables were changed."""
        self._server = server
        self.address = server.name
        with server.connection() as database:
            meta = dict(database.execute("SELECT key, value FROM reid_jax.meta").fetchall())
        if meta.get("version") != str(VERSION):
            raise InputError(
                f"{server.name} holds a gallery of version {shown(meta.get('version'))}; this reid_jax reads "
                f"{VERSION}: take a newer one"
            )
        try:
            self.kind = Kind(meta["digest"], tuple(map(int, json.loads(meta["streams"]))))
            int(meta["last"])
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{server.name}: the table reid_jax.meta was changed by hand ({shown(error)})") from error

    def close(self) -> None:
        """See `Gallery`."""
        self._server.close()

    # What is there ----------------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """See `Gallery`."""
        with self._server.connection() as database:
            one = database.execute(
                "SELECT count(*), count(DISTINCT nullif(person, '')), count(*) FILTER (WHERE has_crop), min(time), "
                "max(time), pg_total_relation_size('reid_jax.entries') + pg_total_relation_size('reid_jax.crops') "
                "FROM reid_jax.entries"
            ).fetchone()
            cameras = database.execute(
                'SELECT camera COLLATE "C" c, count(*) FROM reid_jax.entries GROUP BY 1 ORDER BY 1'
            )
            cameras = dict(cameras.fetchall())
            tags = database.execute(
                'SELECT tag COLLATE "C" t, count(*) FROM reid_jax.entries, unnest(tags) tag GROUP BY 1 ORDER BY 1'
            )
            tags = dict(tags.fetchall())
        return Summary(
            address=self.address,
            version=VERSION,
            entries=one[0],
            people=one[1],
            with_crop=one[2],
            cameras=cameras,
            tags=tags,
            first=one[3],
            last=one[4],
            dimensions=self.dimensions,
            streams=self.kind.streams,
            digest=self.kind.digest,
            thresholds=self.thresholds,
            bytes=one[5],
        )

    def count(self, where: Filter = EVERYTHING) -> int:
        """See `Gallery`."""
        condition, values = _condition(where)
        with self._server.connection() as database:
            return database.execute(f"SELECT count(*) FROM reid_jax.entries WHERE {condition}", values).fetchone()[0]

    def page(self, where: Filter = EVERYTHING, *, after: int = 0, limit: int = 100) -> Page:
        """See `Gallery`."""
        condition, values = _condition(where)
        with self._server.connection() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM reid_jax.entries WHERE id > %s AND {condition} ORDER BY id LIMIT %s",
                [after, *values, limit + 1],
            ).fetchall()
        entries = tuple(map(_entry, rows[:limit]))
        return Page(entries, entries[-1].id if len(rows) > limit else None)

    def crop(self, id: int) -> bytes | None:
        """See `Gallery`."""
        with self._server.connection() as database:
            row = database.execute("SELECT jpeg FROM reid_jax.crops WHERE id = %s", [int(id)]).fetchone()
        return bytes(row[0]) if row else None

    def known(self, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """See `Gallery`."""
        with self._server.connection() as database:
            return _known(database, keys)

    def vectors(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `Gallery`."""
        with self._server.connection() as database:
            cursor = database.cursor(binary=True)
            rows = cursor.execute(
                "SELECT id, vector FROM reid_jax.entries WHERE id = ANY(%s) ORDER BY id", [list(map(int, ids))]
            ).fetchall()
        found = np.zeros((len(rows), self.dimensions), np.float32)
        for row, (_, vector) in enumerate(rows):
            found[row] = vector.to_numpy() if hasattr(vector, "to_numpy") else vector  # before pgvector 0.5 an array
        return np.array([id for id, _ in rows], np.int64), found

    def _entries(self, ids: Sequence[int]) -> Iterable[Entry]:
        with self._server.connection() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM reid_jax.entries WHERE id = ANY(%s)", [list(ids)]
            ).fetchall()
        return list(map(_entry, rows))

    def _candidates(
        self, embedding: np.ndarray, k: int, where: Filter, approximate: bool, besides: Sequence[str]
    ) -> list[np.ndarray]:
        condition, values = _condition(where)
        if besides:
            condition += " AND person <> ALL(%s)"
            values.append([form for name in besides for form in forms(name)])
        select = f"SELECT id FROM reid_jax.entries WHERE {condition} ORDER BY"
        found = []
        with self._server.connection() as database, database.transaction():
            if approximate:
                # Without the first, a search with a filter ends with what the list held, fewer than k; without the
                # second after 20,000 rows.
                database.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
                database.execute("SET LOCAL hnsw.max_scan_tuples = 2147483647")
                database.execute(f"SET LOCAL hnsw.ef_search = {min(max(2 * k, 40), _MOST_LIST)}")
            for query in embedding:
                arguments = [*values, query, k]
                rows = []
                if approximate:
                    rows = database.execute(f"{select} vector <#> %s LIMIT %s", arguments).fetchall()
                if len(rows) < k:
                    # `+ 0` keeps an index out of it, which would answer sooner and not exactly.
                    rows = database.execute(f"{select} (vector <#> %s) + 0, id LIMIT %s", arguments).fetchall()
                found.append(np.array([id for (id,) in rows], np.int64))
        return found

    # Thresholds -------------------------------------------------------------------------------------------------------

    @property
    def calibration(self) -> Calibration | None:
        """See `Gallery`."""
        with self._server.connection() as database:
            row = database.execute("SELECT value FROM reid_jax.meta WHERE key = 'calibration'").fetchone()
        return calibration_of(row[0], self.address) if row else None

    def _attach(self, calibration: Calibration) -> None:
        with self._server.connection() as database:
            database.execute(
                "INSERT INTO reid_jax.meta VALUES ('calibration', %s) ON CONFLICT (key) DO UPDATE SET "
                "value = EXCLUDED.value",
                [text_of(calibration)],
            )

    # Changes ----------------------------------------------------------------------------------------------------------

    def _add(self, facts: Sequence[Facts], embedding: np.ndarray, crops: Sequence[bytes | None]) -> Added:
        self._finish_erasing()
        with self._server.connection() as database, database.transaction():
            last = database.execute("SELECT value FROM reid_jax.meta WHERE key = 'last' FOR UPDATE").fetchone()
            last = int(last[0])
            known = _known(database, [each.key for each in facts])
            new: dict[tuple[str, str], int] = {}
            for row, each in enumerate(facts):
                if each.key not in known:
                    new.setdefault(each.key, row)
            ids = range(last + 1, last + 1 + len(new))
            with database.cursor().copy(
                f"COPY reid_jax.entries ({_COLUMNS}, checksum, vector) FROM STDIN WITH (FORMAT BINARY)"
            ) as copy:
                copy.set_types(["int8", "text", "text", "text", "float8", "text", "text[]", "bool", "int8", "vector"])
                for id, row in zip(ids, new.values(), strict=True):
                    each, crop = facts[row], crops[row] or b""
                    told = (each.source, each.digest, each.camera, each.time, each.person, list(each.tags))
                    copy.write_row((id, *told, bool(crop), checksum(embedding[row], crop), embedding[row]))
            with database.cursor().copy("COPY reid_jax.crops (id, jpeg) FROM STDIN WITH (FORMAT BINARY)") as copy:
                copy.set_types(["int8", "bytea"])
                for id, row in zip(ids, new.values(), strict=True):
                    if crops[row]:
                        copy.write_row((id, crops[row]))
            database.execute("UPDATE reid_jax.meta SET value = %s WHERE key = 'last'", [str(last + len(new))])
        return Added(tuple(ids), len(facts) - len(new))

    def _erase(self, where: Filter) -> int:
        condition, values = _condition(where)
        with self._server.connection() as database, _erasing_alone(database, wait=True):
            with database.transaction():
                erased = database.execute(f"DELETE FROM reid_jax.entries WHERE {condition}", values).rowcount
                database.execute(
                    "INSERT INTO reid_jax.meta VALUES (%s, '') ON CONFLICT (key) DO NOTHING", [_UNFINISHED]
                )
            _end_erasing(database)
        return erased

    def _finish_erasing(self) -> None:
        """Ends an erasing that was killed; one that another process is at is left to that."""
        with self._server.connection() as database:
            if _is_unfinished(database):
                with _erasing_alone(database, wait=False) as is_mine:
                    if is_mine and _is_unfinished(database):  # the other may have done it
                        _end_erasing(database)

    def require_indexable(self) -> None:
        """See `Gallery`."""
        if self.dimensions > _MOST_INDEXED:
            raise InputError(
                f"pgvector indexes vectors of up to {_MOST_INDEXED:,} numbers, and these have {self.dimensions:,}; "
                "exact search goes on without"
            )

    def build_index(self) -> None:
        """Builds pgvector's HNSW index, by inner product; see `Gallery`."""
        self.require_indexable()
        announce(f"indexing {self.count():,} vectors; how far it is says the view pg_stat_progress_create_index")

        def notice(said: "psycopg.errors.Diagnostic") -> None:
            announce(f"{self.address}: {said.message_primary}")  # such as that maintenance_work_mem is too small

        with self._server.connection() as database:
            database.add_notice_handler(notice)
            database.execute(
                "CREATE INDEX IF NOT EXISTS entries_vector ON reid_jax.entries USING hnsw (vector vector_ip_ops)"
            )

    def has_unfinished_erasing(self) -> bool:
        """See `Gallery`."""
        with self._server.connection() as database, _erasing_alone(database, wait=True):
            return _is_unfinished(database)

    def check(self) -> list[str]:
        """See `Gallery`; what PostgreSQL's own checksums find is an error of the server."""
        wrong: dict[str, list[int]] = {}
        is_unfinished = self.has_unfinished_erasing()
        with progress_bar(self.count(), "check", "entries") as bar:
            for entries, vectors in self.blocks(size=1024):
                ids = [entry.id for entry in entries]
                with self._server.connection() as database:
                    kept = dict(
                        database.execute(
                            "SELECT id, checksum FROM reid_jax.entries WHERE id = ANY(%s)", [ids]
                        ).fetchall()
                    )
                    crops = dict(
                        database.execute("SELECT id, jpeg FROM reid_jax.crops WHERE id = ANY(%s)", [ids]).fetchall()
                    )
                for entry, vector in zip(entries, vectors, strict=True):
                    problem = _problem(entry, vector, crops.get(entry.id), kept.get(entry.id))
                    if problem:
                        wrong.setdefault(problem, []).append(entry.id)
                bar.update(len(entries))
        with self._server.connection() as database:  # what was erased while it was checked is no damage
            those = [id for ids in wrong.values() for id in ids]
            rows = database.execute("SELECT id FROM reid_jax.entries WHERE id = ANY(%s)", [those]).fetchall()
        there = {id for (id,) in rows}
        wrong = {problem: [id for id in ids if id in there] for problem, ids in wrong.items()}
        left = f"an erasing in {self.address} was killed and has not ended; run reid-jax gallery erase again"
        return [left] * is_unfinished + [
            f"{len(ids):,} {'entry' if len(ids) == 1 else 'entries'} (id {first_few(ids)}) in {self.address}: "
            f"{problem}; erase these and add them again"
            for problem, ids in wrong.items()
            if ids
        ]


def _is_unfinished(database: "psycopg.Connection") -> bool:
    """Whether entries were deleted whose bytes may still be in the tables' files."""
    return database.execute("SELECT 1 FROM reid_jax.meta WHERE key = %s", [_UNFINISHED]).fetchone() is not None


def _end_erasing(database: "psycopg.Connection") -> None:
    """Writes the tables and their indexes anew: until then deleted rows stay in the files."""
    for table in ("entries", "crops"):
        database.execute(f"VACUUM (FULL) reid_jax.{table}")
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege):  # it will come by itself within minutes
        database.execute("CHECKPOINT")
    database.execute(
        "DELETE FROM reid_jax.meta WHERE key = %s", [_UNFINISHED]
    )  # last: one that is killed has not ended


@contextlib.contextmanager
def _erasing_alone(database: "psycopg.Connection", wait: bool) -> Iterator[bool]:
    """Holds the lock of erasing, which ends with the connection; gives False where another has it and `wait` is False.

    It asks again and again, since a statement that waited would keep the rows of others' erasings from being vacuumed.
    """
    while not database.execute("SELECT pg_try_advisory_lock(%s)", [_ERASING]).fetchone()[0]:
        if not wait:
            yield False
            return
        time.sleep(_AGAIN_SECONDS)
    try:
        yield True
    finally:
        if not database.closed:
            database.execute("SELECT pg_advisory_unlock(%s)", [_ERASING])


def _problem(entry: Entry, vector: np.ndarray, crop: bytes | None, kept: int | None) -> str | None:
    if entry.has_crop and not crop:
        return "no crop, its row is missing"
    if checksum(vector, crop or b"") != kept:
        return "a vector or a crop that is not the one that was added"
    try:
        entry.check()
    except InputError:
        return "facts that reid_jax does not write, the tables were changed by hand"
    return None


def _condition(where: Filter) -> tuple[str, list[object]]:
    """A filter as a condition of SQL over `entries`, and the values in it."""
    parts, values = ["TRUE"], []
    if where.ids:
        parts.append("id = ANY(%s)")
        values.append(list(where.ids))
    for column, names in (("camera", where.cameras), ("person", where.people)):
        if names:
            parts.append(f"{column} = ANY(%s)")
            values.append([form for name in names for form in forms(name)])
    for tag in where.tags:
        parts.append("tags && %s::text[]")
        values.append(forms(tag))
    for sign, bound in ((">=", where.since), ("<", where.until)):
        if bound is not None:
            parts.append(f"time {sign} %s")
            values.append(bound)
    return " AND ".join(parts), values


def _known(database: "psycopg.Connection", keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    digests = [digest for _, digest in keys]
    rows = database.execute("SELECT source, digest FROM reid_jax.entries WHERE digest = ANY(%s)", [digests]).fetchall()
    there = set(rows)
    return {(source, digest) for source, digest in keys if any((form, digest) in there for form in forms(source))}


def _entry(row: tuple) -> Entry:
    names = ("id", "source", "digest", "camera", "time", "person", "tags", "has_crop")
    return Entry(**dict(zip(names, row, strict=True)))
