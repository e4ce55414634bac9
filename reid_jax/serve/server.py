"""A server that runs until a signal ends it."""

import contextlib
import ipaddress
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.applications import Starlette

from reid_jax.errors import InputError, shown
from reid_jax.serve.access import LOOPBACK, Access

_GRACE = 2  # seconds for open requests once a signal came; five after it the process is ended whatever it does
_CONNECTIONS = 512  # at once


def access_for(host: str, names: Sequence[str], token: str | None) -> tuple[Access, bool]:
    """Who may call a server that is bound to `host` and reached by `names`; and whether its token was made here.

    On this machine alone nothing is asked. A server that others reach, themselves or through a proxy that has one of
    `names`, asks for a token: the one given, or one that is made.
    """
    alone = not names and is_loopback(host)
    made = token is None and not alone
    token = secrets.token_urlsafe(24) if made else token
    known = LOOPBACK | {host.lower()} | {name.lower().rstrip(".") for name in names}
    return Access(token, frozenset(known), any_address=not is_loopback(host)), made


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to `host`."""
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Gives a socket that listens; port 0 is any that is free. Raises InputError where it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {shown(host)}, port {port}: {reason}; give another --host or --port"
        ) from error
    with listener:
        yield listener


def address_of(host: str, listener: socket.socket) -> str:
    """The address of the page, as it is typed on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{listener.getsockname()[1]}/"


class _Server(uvicorn.Server):
    """A server that SIGHUP ends as well as SIGINT and SIGTERM."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            heard = signal.getsignal(signal.SIGHUP)
            is_ours = threading.current_thread() is threading.main_thread() and heard is not signal.SIG_IGN
            if is_ours:
                signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                if is_ours:
                    signal.signal(signal.SIGHUP, heard)


def server_of(app: Starlette) -> uvicorn.Server:
    """Returns what answers for the application: `run(sockets=[listener])`.

    It runs until a signal comes, which it raises again once open requests are done, or two seconds have passed.
    """
    return _Server(
        uvicorn.Config(
            app,
            loop="asyncio",  # uvloop takes the pipe by which `processes.signals` hears of signals
            lifespan="off",
            access_log=False,  # who looked for whom is written nowhere
            log_level="warning",
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
        )
    )
