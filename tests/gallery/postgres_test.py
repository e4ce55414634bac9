"""A gallery on PostgreSQL: its index, what stays after an erasing, and a server that goes away."""

import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="pip install 'reid_jax[postgres]'")
import psycopg

from reid_jax.errors import InputError
from reid_jax.gallery import Filter, open_gallery, postgres
from reid_jax.gallery.postgres import without_password
from reid_jax.main import main

TERMINATE_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
)


@pytest.fixture
def on_server(database, extractor):
    """An empty gallery in a database."""
    with open_gallery(database, extractor, create=True) as opened:
        yield opened


@pytest.fixture
def by_hand(database):
    """Runs a statement as somebody with a console would."""

    def run(statement):
        with psycopg.connect(database, autocommit=True) as connection:
            return connection.execute(statement)

    return run


def test_the_index_finds_k_under_a_filter(on_server, people, by_hand, database):
    vectors, facts, _ = people(1500)
    on_server.add(facts, vectors)
    on_server.build_index()
    on_server.build_index()
    by_hand("ANALYZE reid_jax.entries")
    others = ("seqscan", "bitmapscan", "sort")  # so few rows would else be sorted
    for other in others:
        by_hand(f"ALTER DATABASE postgres SET enable_{other} = off")
    try:
        with open_gallery(database) as indexed:
            for where in (Filter(), Filter(cameras=("c1",)), Filter(tags=("bag", "hat"), since=1e5)):
                exact = on_server.search(vectors[:3], 30, where)
                near = indexed.search(vectors[:3], 30, where, approximate=True)
                for one, other in zip(exact, near, strict=True):
                    assert len(one) == len(other) == min(30, on_server.count(where))
                    shared = {match.id for match in one} & {match.id for match in other}
                    assert len(shared) >= 0.8 * len(one)
        scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'entries_vector'"
        deadline = time.monotonic() + 30
        while not by_hand(scans).fetchone()[0] and time.monotonic() < deadline:  # counted a little later
            time.sleep(0.1)
        assert by_hand(scans).fetchone()[0] >= 3
    finally:
        for other in others:
            by_hand(f"ALTER DATABASE postgres RESET enable_{other}")


def test_tables_and_indexes_keep_no_byte_of_what_was_erased(on_server, people, server, by_hand):
    vectors, facts, crops = people(60)
    on_server.add(facts, vectors, crops)
    on_server.build_index()
    by_hand("CHECKPOINT")

    def contents():
        folder = Path(server.pgdata) / "base"
        return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

    before = contents()
    assert vectors[3].tobytes() in before
    assert crops[4] in before
    on_server.erase(Filter(ids=(4, 5)))
    after = contents()
    for trace in (vectors[3].tobytes(), vectors[4].tobytes(), crops[4], facts[3].source.encode() + b"C"):
        assert trace not in after
    assert vectors[0].tobytes() in after
    assert on_server.check() == []


@pytest.mark.parametrize("change", ["add", "erase"])
def test_a_killed_erasing_is_ended_by_the_next_change(
    on_server, people, server, by_hand, database, extractor, monkeypatch, change
):
    vectors, facts, crops = people(30)
    on_server.add(facts, vectors, crops)

    def is_left():
        by_hand("CHECKPOINT")
        (path,) = by_hand("SELECT pg_relation_filepath('reid_jax.crops')").fetchone()
        return crops[4] in (Path(server.pgdata) / path).read_bytes()

    monkeypatch.setattr(postgres, "_end_erasing", lambda database: by_hand(TERMINATE_ALL))  # killed before
    with pytest.raises(InputError, match="went away"):
        on_server.erase(Filter(ids=(5,)))
    monkeypatch.undo()
    assert on_server.count() == 29
    assert is_left()
    with open_gallery(database) as again:
        assert again.check() == [
            f"an erasing in {again.address} was killed and has not ended; run reid-jax gallery erase again"
        ]
        if change == "add":
            again.add(*people(1, seed=3)[1::-1])
        else:
            assert again.erase(Filter(ids=(5,))) == 0
        assert not is_left()
        assert again.check() == []


def test_a_check_during_an_erasing_finds_no_damage(on_server, people, database, monkeypatch):
    vectors, facts, crops = people(30)
    on_server.add(facts, vectors, crops)
    vectors_of = on_server.vectors

    def then_erase(ids):
        found = vectors_of(ids)
        with open_gallery(database) as other:
            other.erase(Filter(ids=(5, 6)))
        return found

    monkeypatch.setattr(on_server, "vectors", then_erase)
    assert on_server.check() == []


def test_an_add_leaves_an_erasing_to_who_is_at_it(on_server, people, database, monkeypatch):
    vectors, facts, crops = people(30)
    on_server.add(facts, vectors, crops)
    end, ended = postgres._end_erasing, []

    def add_then_end(connection):
        if not ended:
            ended.append(1)
            with open_gallery(database) as other:
                assert len(other.add(*people(1, seed=3)[1::-1]).new) == 1
        ended.append(2)
        end(connection)

    monkeypatch.setattr(postgres, "_end_erasing", add_then_end)
    assert on_server.erase(Filter(ids=(5,))) == 1
    assert ended == [1, 2]
    assert on_server.check() == []


def test_two_processes_make_one_gallery(database, extractor):
    made = []

    def make():
        with open_gallery(database, extractor, create=True) as gallery:
            made.append(gallery.count())

    makers = [threading.Thread(target=make) for _ in range(2)]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [postgres._CREATING])
        for maker in makers:
            maker.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        deadline = time.monotonic() + 10
        while connection.execute(waiting).fetchone()[0] < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
    for maker in makers:
        maker.join()
    assert made == [0, 0]


def test_a_server_that_goes_away_is_one_line_and_what_was_confirmed_stays(on_server, people, by_hand, monkeypatch):
    vectors, facts, crops = people(90)
    on_server.add(facts[:30], vectors[:30], crops[:30])
    known = postgres._known

    def then_gone(database, keys):
        by_hand(f"SELECT pg_terminate_backend({database.info.backend_pid})")
        return known(database, keys)

    monkeypatch.setattr(postgres, "_known", then_gone)
    with pytest.raises(InputError, match=r"^postgresql://.* went away: .*what was reported as added is kept") as error:
        on_server.add(facts, vectors, crops)
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    assert on_server.count() == 30
    assert len(on_server.add(facts, vectors, crops).new) == 60
    assert on_server.check() == []
    with pytest.raises(InputError, match=r"postgresql://me@127\.0\.0\.1:9/none cannot be reached"):
        open_gallery("postgresql://me:secret@127.0.0.1:9/none")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://me:secret@host/name?sslmode=require", "postgresql://me@host/name"),
        ("postgresql://me:secret@host:5432/name", "postgresql://me@host:5432/name"),
        ("postgresql://me:se#cret@host/name", "postgresql://me@host/name"),
        ("postgresql://me:se/cret@host/name", "postgresql://…"),
        ("postgresql://me:se?cr@et@host/name", "postgresql://me@host/name"),
        ("postgresql://me:se[cret@host/name", "postgresql://me@host/name"),
        ("postgresql://host/name?user=me&password=secret", "postgresql://host/name"),
        ("postgres://host/name?password=se@cret", "postgres://…"),
        ("postgresql://me:secret@host/name?password=se@cret&x=y", "postgresql://me@host/name"),
        ("postgresql://me:se@cr/et@host/name", "postgresql://…"),
        ("postgresql://host:5432/name?password=se@cret", "postgresql://…"),
        ("postgresql://host?password=se@cret", "postgresql://…"),
        ("postgresql://me@host/name", "postgresql://me@host/name"),
        ("postgresql:///name", "postgresql:///name"),
    ],
)
def test_no_part_of_a_password_is_shown(address, said):
    assert without_password(address) == said


@pytest.mark.parametrize("password", ["topsecret", "top#secret", "top/secret", "top@secret", "top%zzsecret"])
def test_no_message_shows_a_password(on_server, database, password, capsys, tmp_path, extractor):
    address = database.replace("postgres:@", f"postgres:{password}@")
    assert password in address
    other = types.SimpleNamespace(digest="cd" * 32, streams=(10,))
    with pytest.raises(InputError) as error:
        open_gallery(address, other)
    assert main(["gallery", "export", f"--gallery={address}", f"--out={tmp_path / 'x.npz'}"]) == 2
    said = "".join(capsys.readouterr())
    assert "top" not in f"{error.value}{error.value.__cause__}{said}"
    assert "secret" not in f"{error.value}{error.value.__cause__}{said}"


def test_an_option_with_an_at_sign_is_no_misread_password():
    with pytest.raises(InputError, match="cannot be reached, or went away"):
        open_gallery("postgresql://me@127.0.0.1:9/name?password=se@cret")


def test_what_was_changed_by_hand_is_told(on_server, people, by_hand, database):
    vectors, facts, crops = people(20)
    on_server.add(facts, vectors, crops)
    by_hand("UPDATE reid_jax.entries SET vector = (SELECT vector FROM reid_jax.entries WHERE id = 1) WHERE id = 2")
    by_hand("DELETE FROM reid_jax.crops WHERE id = 3")
    by_hand("UPDATE reid_jax.entries SET digest = 'mine' WHERE id = 5")
    lines = on_server.check()
    assert [line.partition(") in ")[0] for line in lines] == ["1 entry (id 2", "1 entry (id 3", "1 entry (id 5"]
    assert "a vector or a crop that is not the one that was added" in lines[0]
    by_hand("UPDATE reid_jax.meta SET value = '7' WHERE key = 'version'")
    with pytest.raises(InputError, match="holds a gallery of version 7; this reid_jax reads 1"):
        open_gallery(database)
    by_hand("ALTER TABLE reid_jax.entries DROP COLUMN camera")
    with pytest.raises(InputError, match=r"column .camera. .*tables may have been changed by hand"):
        on_server.page()


def test_both_kinds_of_gallery_answer_alike(on_server, in_folder, people):
    vectors, facts, crops = people(200)
    vectors[::7] = vectors[3]
    for gallery in (on_server, in_folder):
        gallery.add(facts, vectors, crops)
        gallery.erase(Filter(ids=(9, 30)))
    for where in (Filter(), Filter(cameras=("c0", "c2"), until=9000.0)):
        for by_person in (False, True):
            found = [gallery.search(vectors[:9], 25, where, by_person=by_person) for gallery in (on_server, in_folder)]
            assert found[0] == found[1]
    assert list(on_server.page().entries) == list(in_folder.page().entries)


def test_many_threads_search_while_one_adds(on_server, people):
    vectors, facts, crops = people(200)
    on_server.add(facts[:50], vectors[:50], crops[:50])
    failed = []

    def search():
        try:
            for row in range(5):
                assert on_server.search(vectors[row : row + 1], 3)[0][0].id == row + 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=search) for _ in range(8)]
    for thread in threads:
        thread.start()
    for start in range(50, 200, 50):
        on_server.add(facts[start : start + 50], vectors[start : start + 50])
    for thread in threads:
        thread.join()
    assert not failed
    assert on_server.count() == 200
    assert np.array_equal(on_server.vectors(range(1, 201))[1], vectors)
