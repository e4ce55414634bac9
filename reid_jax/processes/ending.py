"""How the command ends: by an error in one line, by a signal, or with its work done; and with which exit code."""

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from reid_jax.errors import InputError, disk_failure, one_line
from reid_jax.processes import output, peers, signals


def run_process(verb: str, work: Callable[[], int]) -> int:
    """Does the work of a process that is the command alone; returns its exit code.

    Signals end the process in one line (`reid_jax.processes.signals`), losing what it prints does not
    (`reid_jax.processes.output`), and the other processes of its run learn how it ends (`reid_jax.processes.peers`).
    """
    end_by_signal = _signal_ending(verb)
    output.keep_going()
    try:
        signals.install(lambda signum: os._exit(end_by_signal(signum)))
        try:
            code = work()
        finally:  # --help leaves by SystemExit
            output.finish()
        signals.finish()
    except (KeyboardInterrupt, signals.Stopped) as stop:
        code = end_by_signal(stop.signum if isinstance(stop, signals.Stopped) else signal.SIGINT)
        # Not by the interpreter's exit: it waits for other threads, and XLA crashes where one of them still compiles.
        os._exit(code)
    if code:
        peers.leave(peers.FAILED, code)
    return code


def run_verb(verb: str, work: Callable[[], int | None]) -> int:
    """Does a verb's work; returns the exit code that it returns, 0 for None, or that of an error, in a line on stderr.

    2 for bad input, a full or failing disk and a platform that is missing, 1 for a loss that is not finite; any other
    exception passes.
    """
    try:
        return work() or 0
    except (InputError, FloatingPointError) as error:
        print(f"reid-jax {verb}: error: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except Exception as error:
        peers.wait_for_news()
        cause = _platform_failure(error)
        if cause is None and (disk := disk_failure(error)):
            cause = f"{disk}; make room or write elsewhere, then start the same command again"
        if cause is None:
            raise
        print(f"reid-jax {verb}: error: {cause}", file=sys.stderr)
        return 2


def _signal_ending(verb: str) -> Callable[[int], int]:
    """Returns what prints the signal that ends `verb`, once, lets the other processes know and gives the exit code.

    A run that SIGTERM stops has not failed: its launcher takes 0 without results for "start me again".
    """
    first = threading.Lock()

    def end(signum: int) -> int:
        name = signal.Signals(signum).name
        if signum == signal.SIGINT:
            words, code, how = "interrupted", 128 + signum, peers.FAILED
        elif verb == "train":
            words, code, how = f"stopped by {name}; the same command resumes the run", 0, peers.STOPPED
        else:
            words, code, how = f"ended by {name}", 128 + signum, peers.FAILED
        if first.acquire(blocking=False):
            output.print_at_once(f"reid-jax {verb}".rstrip() + f": {words}")
        peers.leave(how, code)
        return code

    return end


def _platform_failure(error: Exception) -> str | None:
    """What to say of an error behind which stands a JAX_PLATFORMS that this machine has not; None for any other."""
    if isinstance(error, RuntimeError | AssertionError) and "jax" in sys.modules:
        try:
            importlib.import_module("reid_jax.processes.platforms").require_platforms()
        except InputError as missing:
            return str(missing)
    return None
