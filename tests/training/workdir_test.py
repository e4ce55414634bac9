"""The claim of a workdir: what is refused, what may stand there, and that a run that cannot start leaves nothing."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.training.workdir import claimed, write_config

HOLDS = """\
import pathlib, sys, time
from reid_jax.training.workdir import claimed
with claimed(pathlib.Path(sys.argv[1]), lambda stored: []):
    print("claimed", flush=True)
    time.sleep(60)
"""


CONFIG = run_config.to_dict(run_config.default())


def changes(stored):
    return run_config.differences(stored, CONFIG)


def test_a_run_that_starts_leaves_its_config_and_no_lock(tmp_path):
    with claimed(tmp_path / "new" / "run", changes):
        write_config(tmp_path / "new" / "run", CONFIG)
    assert [path.name for path in (tmp_path / "new" / "run").iterdir()] == ["config.json"]
    stored = (tmp_path / "new" / "run" / "config.json").read_bytes()
    with claimed(tmp_path / "new" / "run", changes):
        write_config(tmp_path / "new" / "run", CONFIG)
    assert (tmp_path / "new" / "run" / "config.json").read_bytes() == stored
    assert json.loads(stored) == CONFIG


def test_a_run_that_cannot_start_leaves_nothing(tmp_path):
    (tmp_path / "there").mkdir()
    for workdir in (tmp_path / "new" / "run", tmp_path / "there"):
        with pytest.raises(InputError, match="no such data"), claimed(workdir, changes):
            raise InputError("no such data")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not any((tmp_path / "there").iterdir())


@pytest.mark.parametrize("name", ["train.log", "slurm-17.out", "slurm-17.err", ".gitkeep", ".ipynb_checkpoints/"])
def test_logs_and_hidden_files_may_stand_in_a_new_workdir(tmp_path, name):
    (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("...")
    with claimed(tmp_path, changes):
        write_config(tmp_path, CONFIG)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["thesis.txt", "checkpoints/", "logs.log/", "out", "results.json"])
def test_anything_else_is_foreign(tmp_path, name):
    (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("...")
    with pytest.raises(InputError, match=f"is no workdir of a run .*{name.strip('/')}"), claimed(tmp_path, changes):
        pytest.fail("claimed")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is no JSON"),
        (b"5", "holds no config"),
        (b"[]", "holds no config"),
        (b"null", "holds no config"),
        (b'{"seed": NaN}', "NaN"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b'{"a":' * 200_000, "nested deeper"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "another config|nested deeper"),
        (b'{"seed": 1' + b"0" * 5_000 + b"}", "is no JSON"),
        (b'{"seed": 1}', r"another config \(.*seed: 1 -> 0"),
        (json.dumps({f"key{number}": 1 for number in range(10_000)}).encode(), "another config .* more"),
    ],
)
def test_a_config_that_is_damaged_or_anothers_is_told_in_one_line(tmp_path, text, words):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(InputError, match=words) as raised, claimed(tmp_path, changes):
        pytest.fail("claimed")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 2_000
    assert "give another workdir" in str(raised.value)
    assert (tmp_path / "config.json").read_bytes() == text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file", "is a file; --workdir takes a folder"),
        ("file/run", "Not a directory"),
        ("a\\b", "backslash"),
        ("x" * 300, "File name too long"),
        ("/".join(["x" * 200] * 20), "a path of .* bytes"),
        ("\udcff", "not UTF-8"),
        ("loop/run", "symbolic links"),
    ],
)
def test_a_path_that_cannot_hold_a_run_is_refused(tmp_path, name, words):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=words), claimed(tmp_path / name, changes):
        pytest.fail("claimed")
    assert sorted(tmp_path.iterdir()) == before


def test_a_workdir_at_work_is_refused_by_the_process_that_works_and_free_once_it_is_killed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "claimed\n"
        for _ in range(2):  # to be refused changes nothing
            with (
                pytest.raises(InputError, match=f"in use: process {process.pid} on .+, since 2"),
                claimed(tmp_path, changes),
            ):
                pytest.fail("claimed")
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / ".lock").exists()
    with claimed(tmp_path, changes):
        assert f"process {os.getpid()} on " in (tmp_path / ".lock").read_text()
    assert not any(tmp_path.iterdir())


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with claimed(tmp_path, changes):
        assert "without locks" in capsys.readouterr().out
