"""A gallery in a folder: killed, damaged, full, erased."""

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from places import ROOT

from reid_jax.errors import InputError, disk_failure
from reid_jax.gallery import Filter, facts_file, on_device, open_gallery, safe_bytes

ADD_FOREVER = ROOT / "tests" / "gallery" / "add_forever.py"


def contents(folder):
    """Every byte of a gallery's files."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def run_sql(statement):
    def run(folder):
        database = sqlite3.connect(folder / "facts.sqlite", isolation_level=None)
        database.execute(statement)
        database.close()

    return run


def traces(vectors, facts, crops):
    """What must not be left of entries: their vectors, crops, names and people."""
    found = [vector.tobytes() for vector in vectors] + [crop for crop in crops if crop]
    for each in facts:
        found += [each.source.encode(), each.digest.encode()] + [each.person.encode()] * bool(each.person)
    return found


def test_no_byte_of_what_was_erased_is_left(in_folder, people, tmp_path):
    vectors, facts, crops = people(48)
    gone = people(40, seed=77)
    in_folder.add(facts[:20], vectors[:20], crops[:20])
    in_folder.add(gone[1][:25], gone[0][:25], gone[2][:25])
    in_folder.add(facts[20:], vectors[20:], crops[20:])
    in_folder.add(gone[1][25:], gone[0][25:], gone[2][25:])
    before = contents(tmp_path / "gallery")
    assert all(trace in before for trace in traces(*gone) + traces(vectors, facts, crops))
    with open_gallery(tmp_path / "gallery") as reader:
        assert reader.count() == 88
        assert in_folder.erase(Filter(ids=tuple(range(21, 46)) + tuple(range(74, 89)))) == 40
        after = contents(tmp_path / "gallery")
        assert not [trace for trace in traces(*gone) if trace in after]
        assert all(trace in after for trace in traces(vectors, facts, crops))
        assert reader.search(gone[0][:1], 1)[0][0].distance > 0
    assert in_folder.check() == []
    # A file that holds nothing any more goes.
    in_folder.erase(Filter(ids=tuple(range(1, 17))))
    assert sorted(path.name for path in (tmp_path / "gallery" / "vectors").iterdir())[0] == "000001.f32"
    assert in_folder.check() == []
    assert [match.id for match in in_folder.search(vectors[16:17], 1)[0]] == [17]


def test_a_killed_erasing_is_ended_by_the_next_change(in_folder, people, tmp_path, monkeypatch):
    vectors, facts, crops = people(30)
    in_folder.add(facts, vectors, crops)
    monkeypatch.setattr(in_folder, "_end_erasing", lambda: None)  # killed before
    in_folder.erase(Filter(ids=(3, 20)))
    with open_gallery(tmp_path / "gallery") as again:
        assert again.check() == [
            "2 entries (id 3, 20): an erasing was killed and has not ended; run reid-jax gallery erase again"
        ]
        assert [match.id for match in again.search(vectors[2:3], 30)[0]].count(3) == 0
        assert again.erase(Filter(ids=(3,))) == 0
        assert again.check() == []
        after = contents(tmp_path / "gallery")
        assert vectors[2].tobytes() not in after
        assert crops[2] not in after


def test_a_killed_add_loses_nothing_that_was_confirmed(tmp_path, extractor):
    moments = random.Random(0)
    confirmed = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, ADD_FOREVER, tmp_path / "gallery"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(moments.randrange(3, 9)):
            confirmed = int(process.stdout.readline())
        time.sleep(moments.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        confirmed = max([confirmed, *map(int, process.communicate()[0].split(b"\n")[:-1])])
        with open_gallery(tmp_path / "gallery") as gallery:
            assert gallery.check() == []
            assert confirmed <= gallery.count() <= confirmed + 100
            assert [entry.source for entry in gallery.page(limit=10**6).entries] == [
                str(number) for number in range(gallery.count())
            ]


def test_two_processes_add_at_once(tmp_path):
    line = [sys.executable, ADD_FOREVER, tmp_path / "gallery", "600"]
    writers = [subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=-3) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    with open_gallery(tmp_path / "gallery") as gallery:
        assert gallery.check() == []
        assert gallery.count() == 600


@pytest.mark.parametrize("writes", range(4))
def test_a_full_disk_adds_nothing_and_harms_nothing(in_folder, people, monkeypatch, writes):
    vectors, facts, crops = people(40)
    in_folder.add(facts[:10], vectors[:10], crops[:10])
    left = [writes]
    pwrite = os.pwrite

    def full(file, data, offset):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        return pwrite(file, data[: max(1, len(data) // 2)], offset)

    monkeypatch.setattr(safe_bytes.os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as error:
        in_folder.add(facts, vectors, crops)
    assert "gallery" in disk_failure(error.value)
    monkeypatch.undo()
    assert in_folder.count() == 10
    assert in_folder.check() == []
    assert len(in_folder.add(facts, vectors, crops).new) == 30
    assert in_folder.check() == []


def test_a_full_temporary_folder_is_named_and_the_erasing_goes_on_later(in_folder, people, monkeypatch):
    class Full(sqlite3.Connection):
        def execute(self, statement, *values):
            if statement == "VACUUM":
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(statement, *values)

    vectors, facts, crops = people(20)
    in_folder.add(facts, vectors, crops)
    in_folder.close()  # its connections
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *arguments, **options: connect(*arguments, factory=Full, **options))
    for change in (lambda: in_folder.erase(Filter(ids=(2,))), lambda: in_folder.add(*people(1, seed=3)[1::-1])):
        with pytest.raises(OSError, match="No space left") as error:
            change()
        assert "or SQLite's temporary folder: SQLITE_TMPDIR names one" in disk_failure(error.value)
    in_folder.close()
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert len(in_folder.add(*people(1, seed=3)[1::-1]).new) == 1
    assert in_folder.check() == []


def test_a_newer_gallery_and_a_foreign_file_are_refused(in_folder, tmp_path, extractor):
    path = tmp_path / "gallery" / "facts.sqlite"
    run_sql("PRAGMA user_version = 2")(path.parent)
    with pytest.raises(InputError, match="is a gallery of version 2; this reid_jax reads 1"):
        open_gallery(tmp_path / "gallery")
    (tmp_path / "other").mkdir()
    sqlite3.connect(tmp_path / "other" / "facts.sqlite").execute("CREATE TABLE x (y)")
    with pytest.raises(InputError, match="is no file of a gallery's"):
        open_gallery(tmp_path / "other")
    in_folder.close()
    for log in path.parent.glob("facts.sqlite-*"):
        log.unlink()
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(InputError, match="is damaged or was changed by hand"):
        open_gallery(tmp_path / "gallery")
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="is there and no gallery; name a new folder"):
        open_gallery(tmp_path / "third", extractor, create=True)


def cut(path, size):
    os.truncate(path, size)


def change(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\x11\x22")


DAMAGES = {
    "a cut file": (
        lambda folder: cut(folder / "vectors" / "000001.f32", 40),
        "13 entries (id 18, 19, 20, 21, 22 and 8 more) in {}: no vector, 000001.f32 is missing, cut off or overwritten"
        "; erase these and add them again",
    ),
    "a missing file": (
        lambda folder: (folder / "crops" / "000001.jpegs").unlink(),
        "11 entries (id 17, 18, 19, 21, 22 and 6 more) in {}: no crop, 000001.jpegs is missing or cut off; erase these "
        "and add them again",
    ),
    "a changed vector": (
        lambda folder: change(folder / "vectors" / "000000.f32", 3 * 40),
        "1 entry (id 4) in {}: a vector or a crop that is not the one that was added; erase these and add them again",
    ),
    "a changed crop": (
        lambda folder: change(folder / "crops" / "000000.jpegs", 4),
        "1 entry (id 1) in {}: a vector or a crop that is not the one that was added; erase these and add them again",
    ),
    "a changed row": (
        run_sql("UPDATE entries SET digest = 'mine' WHERE id = 5"),
        "1 entry (id 5) in {}: facts that reid_jax does not write, the tables were changed by hand; erase these and "
        "add them again",
    ),
    "a deleted row": (
        run_sql("DELETE FROM entries WHERE id = 6"),
        "1 entry (id 6): tags without an entry, the tables were changed by hand; delete them from tags",
    ),
    "a table without a column": (
        run_sql("ALTER TABLE entries DROP COLUMN checksum"),
        "{}/facts.sqlite is damaged or was changed by hand (no such column: checksum); see reid-jax gallery check, or "
        "make the gallery again",
    ),
}


@pytest.mark.parametrize(("damage", "line"), DAMAGES.values(), ids=DAMAGES.keys())
def test_check_finds_damage(in_folder, people, tmp_path, damage, line):
    vectors, facts, crops = people(30)
    in_folder.add(facts, vectors, crops)
    assert in_folder.check() == []
    in_folder.close()
    damage(tmp_path / "gallery")
    with open_gallery(tmp_path / "gallery") as gallery:
        assert gallery.check() == [line.format(tmp_path / "gallery")]
        if "no vector" not in line:
            assert np.isfinite([match.distance for match in gallery.search(vectors[:1], 30)[0]]).all()


@pytest.mark.parametrize("where", [Filter(), Filter(cameras=("c1",))], ids=["all", "some"])
@pytest.mark.parametrize("size", [None, 0, 40], ids=["missing", "empty", "cut"])
def test_a_search_of_lost_vectors_is_refused_and_says_not_nobody(in_folder, people, tmp_path, size, where):
    vectors, facts, crops = people(30)
    in_folder.add(facts, vectors, crops)
    path = tmp_path / "gallery" / "vectors" / "000001.f32"
    cut(path, size) if size is not None else path.unlink()
    for call in (
        lambda gallery: gallery.search(vectors[20:21], 3, where),
        lambda gallery: gallery.vectors(range(1, 31)),
        lambda gallery: list(gallery.blocks()),
    ):
        with (
            open_gallery(tmp_path / "gallery") as gallery,
            pytest.raises(
                InputError, match=r"000001\.f32 is damaged: it lacks vectors that are known \(id .*gallery check"
            ),
        ):
            call(gallery)
    with open_gallery(tmp_path / "gallery") as gallery:  # what can be searched is searched
        assert gallery.search(vectors[2:3], 1, Filter(ids=(3, 4)))[0][0].id == 3
        gallery.erase(Filter(ids=tuple(range(17, 31))))
        assert len(gallery.search(vectors[2:3], 30)[0]) == 16
        assert gallery.check() == []


def test_a_gallery_goes_on_where_the_process_goes(people, extractor, tmp_path, monkeypatch, small_files):
    vectors, facts, crops = people(20)
    monkeypatch.chdir(tmp_path)
    with open_gallery("people", extractor, create=True) as gallery:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        gallery.add(facts, vectors, crops)
        assert gallery.search(vectors[:1], 1)[0][0].distance == 0
        assert gallery.crop(1) == crops[0]
        assert gallery.erase(Filter(ids=(2,))) == 1
        assert gallery.check() == []
        assert gallery.summary().bytes > 20 * 40
        assert gallery.address == "people"
    assert not list((tmp_path / "other").iterdir())


def test_what_is_erased_while_its_vectors_are_read_is_gone(in_folder, people, monkeypatch):
    vectors, facts, crops = people(40)
    in_folder.add(facts, vectors, crops)
    take = in_folder._vectors.take

    def erase_then_take(ids, last):
        monkeypatch.setattr(in_folder._vectors, "take", take)
        in_folder.erase(Filter(ids=(3, 20, *range(17, 33))))  # a whole file too
        return take(ids, last)

    monkeypatch.setattr(in_folder._vectors, "take", erase_then_take)
    ids, found = in_folder.vectors([2, 3, 20, 40])
    assert ids.tolist() == [2, 40]
    np.testing.assert_array_equal(found, vectors[[1, 39]])


def test_a_file_that_goes_while_it_is_searched_is_no_damage(in_folder, people, monkeypatch):
    vectors, facts, crops = people(40)
    in_folder.add(facts, vectors, crops)
    rows = in_folder._vectors.rows

    def erase_then_rows(block, count):
        monkeypatch.setattr(in_folder._vectors, "rows", rows)
        in_folder.erase(Filter(ids=tuple(range(17, 33))))
        return rows(block, count)

    monkeypatch.setattr(in_folder._vectors, "rows", erase_then_rows)
    assert sorted(match.id for match in in_folder.search(vectors[:1], 40)[0]) == [*range(1, 17), *range(33, 41)]


def test_a_check_during_an_erasing_finds_no_damage(in_folder, people, tmp_path, monkeypatch):
    vectors, facts, crops = people(30)
    in_folder.add(facts, vectors, crops)
    monkeypatch.setattr(facts_file, "_PATIENCE", 0.1)  # the check reads from the log
    take = in_folder._vectors.take

    def erase_then_take(ids, last):
        monkeypatch.setattr(in_folder._vectors, "take", take)
        with (
            open_gallery(tmp_path / "gallery") as other,
            pytest.raises(InputError, match="which another process reads"),
        ):
            other.erase(Filter(ids=(3, 20)))
        return take(ids, last)

    monkeypatch.setattr(in_folder._vectors, "take", erase_then_take)
    assert in_folder.check() == [
        "2 entries (id 3, 20): an erasing was killed and has not ended; run reid-jax gallery erase again"
    ]
    in_folder.erase(Filter(ids=(1,)))
    assert in_folder.check() == []


def test_an_erasing_that_goes_on_was_not_killed(in_folder, people, tmp_path, monkeypatch):
    vectors, facts, crops = people(30)
    in_folder.add(facts, vectors, crops)
    begun, may_end, end = threading.Event(), threading.Event(), in_folder._end_erasing

    def wait_then_end():
        begun.set()
        may_end.wait(10)
        end()

    monkeypatch.setattr(in_folder, "_end_erasing", wait_then_end)
    eraser = threading.Thread(target=in_folder.erase, args=[Filter(ids=(3,))])
    eraser.start()
    assert begun.wait(10)
    with open_gallery(tmp_path / "gallery") as other:
        lines = []
        checker = threading.Thread(target=lambda: lines.append(other.check()))
        checker.start()
        time.sleep(0.1)
        may_end.set()
        checker.join()
    eraser.join()
    assert lines == [[]]


def test_a_device_finds_what_the_host_does(in_folder, people, monkeypatch):
    vectors, facts, crops = people(90)
    vectors[50] = vectors[4]
    in_folder.add(facts, vectors, crops)
    in_folder.erase(Filter(ids=(7, 40)))
    filters = [Filter(), Filter(cameras=("c1",)), Filter(ids=(3,)), Filter(cameras=("none",))]
    on_host = [in_folder.search(vectors[:5], 12, where) for where in filters]
    monkeypatch.setattr(on_device, "has_accelerator", lambda: True)
    monkeypatch.setattr(on_device, "_FEWEST", 4)
    for _ in range(2):
        assert [in_folder.search(vectors[:5], 12, where) for where in filters] == on_host
    monkeypatch.setattr(on_device, "_room", lambda device: 1)  # no block is kept
    in_folder.erase(Filter(ids=(8,)))
    in_folder.add(*people(5, seed=9)[1::-1])
    assert [match.id for match in in_folder.search(vectors[:1], 200)[0]].count(8) == 0
    assert len(in_folder.search(vectors[:1], 200)[0]) == 92
