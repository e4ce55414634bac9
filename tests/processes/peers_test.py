"""Processes of one run: how one that dies, fails, stops or finishes ends the others, or does not."""

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from places import ROOT

PROGRAM = """
import os, sys, time
from reid_jax.processes import joining
from reid_jax.processes import peers
joining.initialize()
print("joined", flush=True)
sys.stdin.readline()
exec(sys.argv[1])
"""
WAIT = "time.sleep(60)"
COMPUTE = "while True: sum(range(1000))"  # keeps Python busy
MEET = "joining.meet()"


@pytest.fixture
def pair():
    """pair(work of process 0, work of process 1) -> both, joined, each waiting for a line on stdin.

    `host`: the address of process 0; `before`: what comes before each one's command.
    """
    started = []

    def start(*works, host="127.0.0.1", before=((),) * 3):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        for index, work in enumerate(works):
            environment = {
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "JAX_COORDINATOR_ADDRESS": f"{host}:{port}",
                "JAX_NUM_PROCESSES": str(len(works)),
                "JAX_PROCESS_ID": str(index),
            }
            started.append(
                subprocess.Popen(
                    [*before[index], sys.executable, "-c", PROGRAM, work],
                    env=environment,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        for process in started:
            assert process.stdout.readline() == "joined\n", process.communicate()[1]
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def begin(*processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.parametrize(("victim", "work"), [(0, COMPUTE), (1, MEET)])
def test_a_killed_process_ends_the_other_with_one_line(pair, victim, work):
    processes = pair(work, work)
    other = processes[1 - victim]
    begin(other)
    processes[victim].kill()
    _, told = other.communicate(timeout=30)
    assert told == (
        f"reid-jax: process {victim} of 2 has died, and this one ends with it; the same command resumes the run\n"
    )
    assert other.returncode == 1


@pytest.fixture
def cable():
    """Two network namespaces with a cable between them: (their names, process 0's address, pull the cable)."""

    def ip(*words, check=True):
        return subprocess.run(["ip", *words], check=check, capture_output=True).returncode == 0

    names = [f"peers{os.getpid()}-{end}" for end in range(2)]
    if not (shutil.which("ip") and ip("netns", "add", names[0], check=False)):
        pytest.skip("no network namespaces can be made here")
    try:
        ip("netns", "add", names[1])
        ip("link", "add", "end0", "netns", names[0], "type", "veth", "peer", "end1", "netns", names[1])
        for name, device, address in zip(names, ("end0", "end1"), ("10.213.8.1", "10.213.8.2"), strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", device)
            for each in (device, "lo"):
                ip("-n", name, "link", "set", each, "up")
        yield names, "10.213.8.1", lambda: ip("-n", names[0], "link", "set", "end0", "down")
    finally:
        for name in names:
            ip("netns", "delete", name, check=False)


def test_a_cut_network_ends_both_with_one_line(pair, cable):
    names, host, pull = cable
    soon = "import socket\nfor each in peers._peers._connections:\n"
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        soon += f"    each.setsockopt(socket.IPPROTO_TCP, socket.{option}, 1)\n"
    soon += WAIT
    both = pair(soon, soon, host=host, before=[["ip", "netns", "exec", name] for name in names])
    begin(*both)
    pull()
    for number, process in enumerate(both):
        _, told = process.communicate(timeout=50)
        assert told.startswith(f"reid-jax: process {1 - number} of 2 has died, and this one ends with it; ")
        assert told.count("\n") == 1
        assert process.returncode == 1


def test_processes_that_finish_at_different_times_end_well(pair):
    first, last = pair("time.sleep(1)", "pass")
    begin(last)
    time.sleep(1)  # it waits for the other, as JAX has it
    begin(first)
    for process in (first, last):
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("work", "words", "code"),
    [
        ("peers.leave(peers.STOPPED, 0)", "was told to stop, and this one stops with it", 0),
        ("raise ValueError('a fault')", "has failed, and this one ends with it", 1),
    ],
)
def test_a_process_that_ends_early_ends_the_others_as_itself(pair, work, words, code):
    processes = pair(WAIT, WAIT.replace("60", "61"), work)
    begin(*processes)
    for process in processes[:2]:
        _, told = process.communicate(timeout=30)
        assert words in told
        assert told.startswith("reid-jax: process 2 of 3 ")
        assert told.count("\n") == 1
        assert process.returncode == code


@pytest.mark.parametrize("process", [0, 1])
def test_one_that_waits_in_vain_for_the_others_leaves_with_a_line(process):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(process),
    }
    program = PROGRAM.replace("joining.initialize()", "joining._PATIENCE = 1; joining.initialize()")
    line = [sys.executable, "-c", program, WAIT]
    done = subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    told = "reid-jax: after 1 s not all processes of this run have come; start all of them again\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
