"""Temporary folders: what the dead left is swept, and nothing that may be alive."""

import os
import subprocess
import sys
import time

import pytest

from reid_jax.files import leftovers

LEAVE = """
import os, pathlib, sys
from reid_jax.files.leftovers import temporary_folder
with temporary_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "half").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def owned(tmp_path):
    """A temporary folder for `tmp_path`/set, and its process, which lives until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE, tmp_path / "set"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    folder = tmp_path / os.path.basename(process.stdout.readline().strip())
    yield folder, process
    process.kill()
    process.communicate()


def test_a_folder_is_swept_once_its_owner_was_killed(owned, tmp_path):
    folder, process = owned
    assert leftovers.sweep(tmp_path, "set") == []
    process.kill()
    process.wait()
    assert leftovers.sweep(tmp_path, "other") == []
    ((swept, size),) = leftovers.sweep(tmp_path, "set")
    assert (swept, folder.exists()) == (folder, False)
    assert size >= 1000


def test_another_folder_for_the_same_target_sweeps_the_dead_ones(owned, tmp_path):
    folder, process = owned
    with leftovers.temporary_folder(tmp_path / "set"):
        assert len(list(tmp_path.iterdir())) == 2
    process.kill()
    process.wait()
    with leftovers.temporary_folder(tmp_path / "set") as mine:
        assert list(tmp_path.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("owner", ["another host", "", None])
def test_without_a_lock_to_judge_by_only_age_tells_the_dead(tmp_path, owner):
    folder = tmp_path / ".set-abc"
    (folder / "inner").mkdir(parents=True)
    if owner is not None:
        (folder / ".owner").write_text(owner)
    assert leftovers.sweep(tmp_path, "set") == []
    long_ago = time.time() - 8 * 24 * 3600
    for path in (*folder.iterdir(), folder):
        os.utime(path, (long_ago, long_ago))
    os.utime(folder / "inner")
    assert leftovers.sweep(tmp_path, "set") == []
    os.utime(folder / "inner", (long_ago, long_ago))
    assert [path for path, _ in leftovers.sweep(tmp_path, "set")] == [folder]


def test_folders_that_are_not_of_the_target_stay(tmp_path):
    for name in (".set", "set-1", ".other-1", ".settings"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".set-file").write_text("")
    (tmp_path / ".set-link").symlink_to(tmp_path / "set-1")
    assert leftovers.sweep(tmp_path, "set") == []


def test_a_finished_folder_is_renamed_whole_and_for_everybody(tmp_path):
    with leftovers.temporary_folder(tmp_path / "set") as folder:
        (folder / "image").write_text("")
        leftovers.release(folder)
        folder.rename(tmp_path / "set")
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "image"]
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o755


def test_temporary_files_of_this_hosts_dead_processes_go(tmp_path):
    path = tmp_path / "results[1].json"
    mine = leftovers.temporary_file(path)
    assert (mine.parent, mine.suffix) == (tmp_path, ".json")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = mine.name[1:].partition(f".{os.getpid()}.")[0]
    gone = tmp_path / f".{host}.{dead.pid}.results[1].json"
    stay = [
        mine,
        *(tmp_path / name for name in (f".elsewhere.{dead.pid}.results[1].json", f".{host}.1.results[1].json")),
    ]
    stay += [tmp_path / f".{host}.{dead.pid}.results1.json", tmp_path / f".{host}.notes.results[1].json"]
    for file in (gone, *stay):
        file.write_text("")
    assert leftovers.temporary_file(path) == mine
    assert set(tmp_path.iterdir()) == set(stay)
