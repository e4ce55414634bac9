"""The command as a process: signals end it in one line, and losing what it prints does not end it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from places import ROOT

# A verb that does `work` in the place of the real one: nothing of JAX is imported. Whatever runs these tests may ignore
# signals, as a shell's background jobs do SIGINT and `nohup` SIGHUP: a user's command does not.
PROGRAM = """
import os, signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from reid_jax import main
from reid_jax.processes import output
from reid_jax.processes import signals
from reid_jax.errors import InputError
verb, work = sys.argv[1:]
module = types.ModuleType("reid_jax.verbs." + verb)
module.EXAMPLES, module.add_arguments = "", lambda parser: None
module.run = lambda args: exec(work, globals())
sys.modules[module.__name__] = module
sys.argv = ["reid-jax", verb]
sys.exit(main.main())
"""
WAIT = """
try:
    print("begun", flush=True)
    time.sleep(60)
finally:
    print("cleaned up", flush=True)
"""
STUCK = """
signals._GRACE = 0.3
print("begun", flush=True)
until = time.monotonic() + 60
while time.monotonic() < until:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""
LOST = """
signals._GRACE = 0.3
class Fragile:
    def __del__(self):
        print("begun", flush=True)
        time.sleep(60)
Fragile()
time.sleep(60)
"""
TRAINING = """
signals._notify = lambda signum: None  # as JAX's, once its processes are joined
signals.defer()
print("begun", flush=True)
for _ in range(600):
    if signals._noticed:
        break
    time.sleep(0.1)
print("saved", flush=True)
signals.stop_deferring()
print("not reached")
"""
# What Python calls to initialise a module in C, and a module that takes its time.
INITIALISING = """
import contextlib, functools, importlib.machinery
class Slow:
    origin = "slow.so"
    @functools.cached_property
    def name(self):
        print("begun", flush=True)
        time.sleep(0.5)
        print("initialised", flush=True)
        return "slow"
with contextlib.suppress(ImportError):
    importlib.machinery.ExtensionFileLoader("slow", "slow.so").create_module(Slow())
time.sleep(60)
"""
PRINT = """
for number in range(3):
    print("line", number, flush=True)
    print("bar", file=sys.stderr, flush=True)
    time.sleep(0.1)
open(os.environ["DONE"], "w").close()
"""


def start(verb, work, program=PROGRAM, **options):
    command = [sys.executable, "-c", program, verb, work]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, cwd=ROOT, text=True, **options)


def begun(verb, work, program=PROGRAM):
    process = start(verb, work, program)
    assert process.stdout.readline() == "begun\n", process.communicate()
    return process


@pytest.mark.parametrize(
    ("verb", "signals", "code", "words"),
    [
        ("embed", ["SIGTERM"], 143, "ended by SIGTERM"),
        ("evaluate", ["SIGHUP"], 129, "ended by SIGHUP"),
        ("data", ["SIGTERM", "SIGTERM", "SIGINT"], 143, "ended by SIGTERM"),
        ("data", ["SIGINT"], 130, "interrupted"),
        ("train", ["SIGINT"] * 5, 130, "interrupted"),
        ("train", ["SIGTERM"], 0, "stopped by SIGTERM; the same command resumes the run"),
        ("train", ["SIGHUP", "SIGTERM"], 0, "stopped by SIGHUP; the same command resumes the run"),
    ],
)
def test_signals_end_the_command_in_one_line_and_tidily(verb, signals, code, words):
    process = begun(verb, WAIT)
    for name in signals:
        process.send_signal(getattr(signal, name))
        time.sleep(0.01)
    assert process.communicate(timeout=20) == ("cleaned up\n", f"reid-jax {verb}: {words}\n")
    assert process.returncode == code


@pytest.mark.parametrize("work", [STUCK, LOST])
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_a_process_that_does_not_leave_by_itself_is_ended(work, name, code):
    process = begun("train", work)
    process.send_signal(getattr(signal, name))
    _, told = process.communicate(timeout=20)
    assert told.count("\n") == 1
    assert told.startswith("reid-jax train: ")
    assert process.returncode == code


def test_a_run_in_training_is_left_to_save_itself():
    process = begun("train", TRAINING)
    process.send_signal(signal.SIGHUP)
    out, told = process.communicate(timeout=20)
    assert out == "saved\n"
    assert told == "reid-jax train: stopped by SIGHUP; the same command resumes the run\n"
    assert process.returncode == 0


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGHUP", 0), ("SIGINT", 130)])
def test_a_module_in_c_comes_to_the_end_of_its_initialisation_before_a_signal_is_answered(name, code):
    process = begun("train", INITIALISING)
    process.send_signal(getattr(signal, name))
    out, told = process.communicate(timeout=20)
    assert out == "initialised\n"
    assert told.count("\n") == 1
    assert process.returncode == code


def test_a_signal_that_the_parent_ignores_stays_ignored():
    work = WAIT.replace("60", "0.3")
    process = begun("embed", work, PROGRAM.replace("SIG_DFL", "SIG_IGN"))
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20) == ("cleaned up\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("redirection", "told"),
    [
        ("| head -n 1", "reid-jax: stdout is lost (Broken pipe); the work goes on without it\n"),
        ("> /dev/full", "reid-jax: stdout is lost (No space left on device); the work goes on without it\n"),
        (">&-", ""),
        ("2> /dev/full", ""),
        ("2>&-", ""),
        ("> /dev/full 2>&1", ""),
        ("<&- >&- 2>&-", ""),
    ],
)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_what_cannot_be_printed_ends_nothing(tmp_path, redirection, told):
    environment = {**os.environ, "DONE": str(tmp_path / "done"), "PROGRAM": PROGRAM, "WORK": PRINT}
    script = f'("{sys.executable}" -c "$PROGRAM" embed "$WORK"; echo $? > code) {redirection}'
    script = script.replace("; echo", f" {redirection}; echo", 1) if "|" not in redirection else script
    done = subprocess.run(
        ["bash", "-c", f'cd "{tmp_path}"; export PYTHONPATH="{ROOT}"; {script}'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (tmp_path / "done").exists()
    assert (tmp_path / "code").read_text() == "0\n"
    assert done.stderr.replace("bar\n", "") == told


@pytest.mark.parametrize(
    ("work", "told"),
    [
        ("print('short')", ""),  # `summary | head`: all of it is printed at the end
        ("print('short', flush=True); time.sleep(0.2); print('more', flush=True)", "stdout is lost"),
    ],
)
def test_a_reader_that_leaves_once_all_is_printed_is_no_news(work, told):
    read, write = os.pipe()
    os.close(read)
    process = start("summary", work, stdout=write)
    os.close(write)
    assert told in process.communicate(timeout=20)[1]
    assert process.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_terminal_gets_text(encoding):
    work = "print('36.0 ± 1.2, 2 × 3 – größe 人'); raise InputError('人')"
    process = start("report", work, env={**os.environ, "PYTHONIOENCODING": encoding}, encoding=encoding)
    out, told = process.communicate(timeout=20)
    assert (
        out.strip()
        == {
            "ascii": r"36.0 +- 1.2, 2 x 3 - gr\xf6\xdfe \u4eba",
            "latin-1": r"36.0 ± 1.2, 2 × 3 - größe \u4eba",
            "utf-8": "36.0 ± 1.2, 2 × 3 – größe 人",
        }[encoding]
    )
    assert told.startswith("reid-jax report: error: ")
    assert process.returncode == 2


@pytest.mark.parametrize(
    "error", ["OSError(28, os.strerror(28), 'a/b')", "RuntimeError(os.strerror(28) + '; writing')"]
)
def test_a_full_disk_is_one_line(error):
    process = start("embed", f"raise {error}")
    out, told = process.communicate(timeout=20)
    assert told.startswith("reid-jax embed: error: No space left on device")
    assert (told.count("\n"), process.returncode) == (1, 2)
