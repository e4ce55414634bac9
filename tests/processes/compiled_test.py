"""Compiled programs kept for the next start: found there, bounded, and no worse for damage, company or a full disk."""

import errno
import os
import subprocess
import sys
import time

import pytest
from places import ROOT

from reid_jax.processes import compiled
from reid_jax.processes.compiled import Cache

# The command, which then tells all that it compiled and found.
COMMAND = """
import sys
from reid_jax.main import main
from reid_jax.processes.compiled import programs
code = main(sys.argv[1:])
print("in all", programs.compiled, programs.found)
sys.exit(code)
"""
SMALL = """
import jax, jax.numpy as jnp
from reid_jax.processes import compiled
compiled.keep()
print(float(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3))).sum()))
print(compiled.programs.describe())
"""


def start(program, *arguments, cache, **variables):
    """Starts Python with the cache of a user whose cache folder is `cache`."""
    bare = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**bare, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process) -> list[str]:
    """The lines that it printed; it printed no others on stderr."""
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, ""), out + err
    return out.splitlines()


def entries(cache):
    return sorted(path for path in cache.glob("reid_jax/compiled/*/*") if not path.name.startswith("."))


def test_a_second_start_of_a_run_compiles_nothing(data_dir, tmp_path):
    def run(name):
        line = ["train", f"--config={ROOT / 'tests' / 'own_network' / 'config.py'}", f"--config.data_dir={data_dir}"]
        process = start(COMMAND, *line, "--config.epochs=1", f"--workdir={tmp_path / name}", cache=tmp_path / "cache")
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        (told,) = [line for line in out.splitlines() if line.startswith("compiled ")]
        total, found = map(int, out.splitlines()[-1].split()[-2:])
        return told, total, found

    run("first")
    told, total, found = run("second")
    assert total == found > 20
    count = int(told.split()[1])
    assert f"{count} programs in " in told
    assert f", {count} of them out of {tmp_path / 'cache' / 'reid_jax' / 'compiled'}" in told
    first, second = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


def test_damaged_entries_are_made_again_by_two_processes_at_once(tmp_path):
    value, told = end(start(SMALL, cache=tmp_path))
    files = entries(tmp_path)
    assert told.startswith(f"compiled    {len(files)} programs in ")
    assert files[0].parent.stat().st_mode & 0o777 == 0o700  # who can write there can have us run what they like
    data = files[0].read_bytes()
    files[0].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    files[1].write_bytes(b"")
    both = [start(SMALL, cache=tmp_path) for _ in range(2)]
    for process in both:
        assert end(process)[0] == value
    assert all(file.read_bytes() for file in files)
    assert end(start(SMALL, cache=tmp_path))[1].split(", ")[1].startswith(f"{len(files)} of them")
    # A sound entry that XLA does not take, as of another kind of CPU, is tried once.
    Cache(files[0].parent, 10**9).put(files[0].name, b"no program")
    assert end(start(SMALL, cache=tmp_path))[0] == value
    assert len(files[0].read_bytes()) < 32
    assert end(start(SMALL, cache=tmp_path))[1].split(", ")[1].startswith(f"{len(files) - 1} of them")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"XDG_CACHE_HOME": "/dev/null"}, "none is kept (Not a directory)"),
        ({"JAX_ENABLE_COMPILATION_CACHE": "false"}, "none is kept (the cache is off)"),
        ({"JAX_COMPILATION_CACHE_DIR": "{mine}"}, "0 of them out of {mine}"),
    ],
)
def test_it_is_off_where_it_cannot_be_and_where_jaxs_variables_say_so(tmp_path, variables, words):
    mine = tmp_path / "mine"
    variables = {name: value.format(mine=mine) for name, value in variables.items()}
    cache = variables.pop("XDG_CACHE_HOME", tmp_path / "cache")
    _, told = end(start(SMALL, cache=cache, **variables))
    assert told.endswith(words.format(mine=mine))
    assert not entries(tmp_path / "cache")


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    cache, now = Cache(tmp_path, 400), time.time()
    for age, name in enumerate("abcd"):
        cache.put(name, bytes(64))  # 96 bytes with its digest
        os.utime(tmp_path / name, (now - 10 - age, now - 10 - age))
    (tmp_path / ".1-of a dead process").touch()
    os.utime(tmp_path / ".1-of a dead process", (1, 1))
    assert cache.get("d") == bytes(64)
    cache.put("e", bytes(64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d", "e"]  # three quarters of the bound
    cache.put("larger than all", bytes(1000))
    assert cache.get("larger than all") is None


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def replace(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(compiled, "programs", compiled.Programs())
    monkeypatch.setattr(os, "replace", replace)
    Cache(tmp_path, 1000).put("a", b"code")
    assert not list(tmp_path.iterdir())
    assert compiled.programs.trouble == "No space left on device"
