"""Drawing in processes of its own, a job each, with a line from them for each picture that is done."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from reid_jax.errors import InputError


def command_of(module: str) -> list[str]:
    """The command of a worker that calls `_work()` of a module, which reads its job as JSON from stdin."""
    return [sys.executable, "-c", f"import {module} as module; module._work()"]


def run_jobs(command: list[str], jobs: Sequence[dict], take: Callable[[str], object], failure: str) -> None:
    """Starts a process for each job, hands it the job as JSON, and calls `take` with each line that it prints.

    `take` is called from several threads. Not `multiprocessing`: forking is unsafe once JAX runs its threads, and its
    other ways of starting import the caller's main module again, which breaks scripts without a main guard and
    interactive sessions.

    Raises:
      InputError: a process failed; `failure` and the last line of what it said.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    processes: list[subprocess.Popen] = []
    readers: list[threading.Thread] = []

    def read(process: subprocess.Popen) -> None:
        for line in process.stdout:
            take(line.decode())

    try:
        for job in jobs:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
            )
            processes.append(process)
            with contextlib.suppress(BrokenPipeError):  # it died early: its exit code is read below
                process.stdin.write(json.dumps(job).encode())
                process.stdin.close()
            readers.append(threading.Thread(target=read, args=(process,), daemon=True))
            readers[-1].start()
        for process, reader in zip(processes, readers, strict=True):
            reader.join()
            complaint = process.stderr.read().decode(errors="replace").strip()
            if process.wait() != 0:
                last = complaint.splitlines()[-1] if complaint else f"exit code {process.returncode}"
                raise InputError(f"{failure}: {last}; check space and rights")
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
