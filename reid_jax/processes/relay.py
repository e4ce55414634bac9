"""Holds JAX's connection to process 0 open for a while after process 0 has died.

JAX's client aborts its process from C++, with a page of text, as soon as that connection breaks, and takes no callback
from Python. Behind a relay it learns of the end a few seconds later: time enough for `reid_jax.processes.peers` to
leave with a line. What passes is little: keys, barriers and heartbeats, no arrays.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from jax._src import distributed

_HOLD = 10.0  # seconds


@contextlib.contextmanager
def between_jax_and_process_zero() -> Iterator[None]:
    """Has the client that `jax.distributed.initialize` makes within reach process 0 over a relay in this process."""
    extension = getattr(distributed, "_jax", None)
    if extension is None:  # another JAX: process 0's death is then told by its abort
        yield
        return
    distributed._jax = _Relayed(extension)
    try:
        yield
    finally:
        distributed._jax = extension


class _Relayed:
    """JAX's extension module, but for the address that its client connects to."""

    def __init__(self, extension: Any):
        self._extension = extension

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extension, name)

    def get_distributed_runtime_client(self, address: str, process: int, *arguments: Any, **options: Any) -> Any:
        if process:  # process 0 ends with its own service
            address = _relay_to(address)
        return self._extension.get_distributed_runtime_client(address, process, *arguments, **options)


def _relay_to(address: str) -> str:
    """Starts a relay and returns its address; `address` itself where this machine allows none."""
    try:
        server = socket.create_server(("127.0.0.1", 0))
    except OSError:
        return address
    host, _, port = address.rpartition(":")
    _start(_accept, server, (host.strip("[]"), int(port)))
    return f"127.0.0.1:{server.getsockname()[1]}"


def _accept(server: socket.socket, target: tuple[str, int]) -> None:
    while True:
        near, _ = server.accept()
        try:
            far = socket.create_connection(target, timeout=30)
        except OSError:  # not there yet: the client tries again
            near.close()
            continue
        far.settimeout(None)
        for connection in (near, far):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _start(_pass, near, far, 0.0)
        _start(_pass, far, near, _HOLD)


def _pass(source: socket.socket, sink: socket.socket, hold: float) -> None:
    """Passes on what comes until `source` ends, and closes `sink` so many seconds later."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    time.sleep(hold)
    for connection in (source, sink):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # wakes the other direction's thread
        connection.close()


def _start(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, name="relay", daemon=True).start()
