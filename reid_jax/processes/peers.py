"""The other processes of a run: when one of them dies, fails or is stopped, this one leaves with a line.

JAX notices a death only after its heartbeats have been missing for long, or by an abort in C++. Here each process
keeps a connection to process 0 open, over which it says how it ends: the kernel of its machine closes the connection of
one that was killed. A process that is merely slow, or suspended, closes nothing.
"""

import atexit
import contextlib
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from typing import Any

from reid_jax.processes import output

DONE, STOPPED, FAILED, DIED = "done", "stopped", "failed", "died"  # how a process ends
_CODE = {STOPPED: 0, FAILED: 1, DIED: 1}
_KEY = "reid_jax/peers"
_OWN_WORDS = 2.0  # seconds that a process has to tell itself what ends it, where another failed
_LINGER = 5.0  # seconds that process 0, which serves JAX's coordination, waits for the others to leave
# A machine that vanished, or a network that was cut, closes nothing: its kernel is asked after 10 s of silence, and
# given up 20 s later. JAX's own heartbeats, which abort the process with pages of text, take 50 s at the least.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}

_peers: "_Peers | None" = None


def watch(client: Any, coordinator: str, process: int, processes: int) -> None:
    """Connects this process with the others, by JAX's coordination `client`, at the end of joining them.

    `coordinator`: host:port of process 0. Where the machines cannot be connected so (a firewall), nothing is watched
    and JAX's heartbeats remain.
    """
    global _peers
    if process == 0:
        both = socket.has_dualstack_ipv6()
        server = socket.create_server(
            ("", 0), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=processes
        )
        token = secrets.token_hex(8)  # strangers that connect are not listened to
        client.key_value_set(_KEY, f"{server.getsockname()[1]} {token}")
        _peers = _Peers(process, processes, server, token)
    else:
        port, token = client.blocking_key_value_get(_KEY, 60_000).split()
        host = coordinator.rpartition(":")[0].strip("[]")
        try:
            connection = socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            return
        _peers = _Peers(process, processes, connection, token)
        connection.sendall(_hello(token, process))
    atexit.register(_end)
    threading.Thread(target=_peers.listen, name="peers", daemon=True).start()


def leave(word: str, code: int) -> None:
    """Ends this process with `code`, and tells the others the word; returns where there are none."""
    if _peers is not None:
        _peers.leave(word, _peers.process, code)


def wait_for_news() -> None:
    """Gives the news of another's death the time to arrive: it ends this process, and explains an error met here."""
    if _peers is not None:
        time.sleep(_OWN_WORDS)


def _end() -> None:
    """At exit, before JAX waits for all processes: an uncaught exception has been printed by then."""
    if hasattr(sys, "last_type"):
        leave(FAILED, 1)
    _peers.say(DONE, _peers.process)


def _hello(token: str, process: int) -> bytes:
    """How a process opens its connection: of the same length for all."""
    return f"{token} {process:08}\n".encode()


class _Peers:
    """Connections of process 0 to all others, or of another to process 0, which passes every word on."""

    def __init__(self, process: int, processes: int, first: socket.socket, token: str):
        self.process, self._processes, self._token = process, processes, token
        self._selector = selectors.DefaultSelector()
        self._connections: dict[socket.socket, int] = {}  # to the process that is at the other end
        self._done: set[int] = set()
        self._leaving = threading.Lock()
        self._server = first if process == 0 else None
        if self._server is not None:
            self._selector.register(first, selectors.EVENT_READ)
        else:
            self._add(first, 0)

    def say(self, word: str, about: int) -> None:
        """Tells the others that process `about` ends so."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.sendall(f"{word} {about}\n".encode())

    def leave(self, word: str, about: int, code: int, line: str = "") -> None:
        """Ends the process: the first caller's word counts."""
        if not self._leaving.acquire(blocking=False):
            time.sleep(2 * _LINGER)
        if line:
            output.print_at_once(line)
        self.say(word, about)
        until = time.monotonic() + _LINGER
        while self.process == 0 and self._connections and time.monotonic() < until:
            time.sleep(0.05)  # `listen` takes those out that have closed
        os._exit(code)

    def listen(self) -> None:
        """The thread's work: takes connections and words."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._server:
                    self._accept()
                else:
                    self._hear(key.fileobj)

    def _accept(self) -> None:
        connection, _ = self._server.accept()
        connection.settimeout(10)
        with contextlib.suppress(OSError):
            hello = connection.recv(len(_hello(self._token, 0)), socket.MSG_WAITALL)
            for process in range(1, self._processes):
                if secrets.compare_digest(hello, _hello(self._token, process)):
                    self._add(connection, process)
                    return
        connection.close()

    def _add(self, connection: socket.socket, process: int) -> None:
        connection.settimeout(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):  # macOS names them otherwise
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._connections[connection] = process
        self._selector.register(connection, selectors.EVENT_READ)

    def _hear(self, connection: socket.socket) -> None:
        process = self._connections[connection]
        try:
            words = connection.recv(1024).decode().splitlines()
        except (OSError, UnicodeDecodeError):
            words = []
        if not words:
            self._selector.unregister(connection)
            del self._connections[connection]
            connection.close()
            if process not in self._done:
                self._follow(DIED, process)
        for line in words:
            word, _, about = line.partition(" ")
            if word == DONE:
                self._done.add(process)
            elif word in _CODE and about.isdigit():
                self._done.add(process)  # and its connection may close
                self._follow(word, int(about))

    def _follow(self, word: str, process: int) -> None:
        """Leaves as another did, in a thread of its own: this one goes on listening."""
        how = {
            STOPPED: "was told to stop, and this one stops with it",
            FAILED: "has failed, and this one ends with it",
            DIED: "has died, and this one ends with it",
        }[word]
        line = f"reid-jax: process {process} of {self._processes} {how}; the same command resumes the run"

        def follow():
            if word == FAILED:
                time.sleep(_OWN_WORDS)
            self.leave(word, process, _CODE[word], line)

        threading.Thread(target=follow, daemon=True).start()
