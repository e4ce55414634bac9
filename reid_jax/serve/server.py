"""A server that runs until a signal ends it."""

import asyncio
import contextlib
import ipaddress
import resource
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Sequence

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from reid_jax.errors import InputError, shown
from reid_jax.serve.access import LOOPBACK, Access, own_name
from reid_jax.serve.rate import subscriber

_GRACE = 2  # seconds for open requests once a signal came; five after it the process is ended whatever it does
_CONNECTIONS = 512  # at once
_OF_ONE_ADDRESS = 128  # of these
_HEAD = 10.0  # seconds for a request's head to arrive


def access_for(host: str, names: Sequence[str], token: str | None) -> tuple[Access, bool]:
    """Who may call a server that is bound to `host` and reached by `names`; and whether its token was made here.

    On this machine alone nothing is asked. A server that others reach, themselves or through a proxy that has one of
    `names`, asks for a token: the one given, or one that is made. Raises InputError for a bad name or token.
    """
    alone = not names and is_loopback(host)
    made = token is None and not alone
    token = secrets.token_urlsafe(24) if made else token
    known = LOOPBACK | {host.lower()} | set(map(own_name, names))
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


def allow_files(most: int = 8192) -> None:
    """Raises the limit of open files to `most`, as far as the system lets it: an image that waits is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def address_of(host: str, listener: socket.socket) -> str:
    """The address of the page, as it is typed on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{listener.getsockname()[1]}/"


class _Connection(H11Protocol):
    """A connection that does not hold its place for nothing.

    It is closed where the head of a request, the first or the next one, has not come in time; uvicorn itself waits for
    ever once a byte of it came. A body that was answered before it had come may go on, unless nothing of it comes for
    so long: who is still sending reads no answer. One more than an address may have is closed at once; those from this
    machine are not counted so, as a proxy's are everybody's.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._expect_head()
        address = _subscriber_of(self)
        if address and sum(_subscriber_of(each) == address for each in self.connections) > _OF_ONE_ADDRESS:
            transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def _expect_head(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.conn.their_state is h11.SEND_BODY:
            self._forget()
        if not is_answering and self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(_HEAD, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _subscriber_of(connection: H11Protocol) -> str:
    """Who is at the other end; '' for this machine."""
    address = connection.client[0] if connection.client else ""
    return "" if not address or is_loopback(address) else subscriber(address)


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


def server_of(app: Starlette, behind_proxy: bool = False) -> uvicorn.Server:
    """Returns what answers for the application: `run(sockets=[listener])`.

    It runs until a signal comes, which it raises again once open requests are done, or two seconds have passed.
    behind_proxy: what speaks to it from this machine says whom it speaks for (X-Forwarded-For, X-Forwarded-Proto).
      Without a proxy whoever says so would have as many addresses, and attempts at the token, as they like.
    """
    return _Server(
        uvicorn.Config(
            app,
            http=_Connection,
            proxy_headers=behind_proxy,
            loop="asyncio",  # uvloop takes the pipe by which `processes.signals` hears of signals
            lifespan="off",
            access_log=False,  # who looked for whom is written nowhere
            log_level="warning",
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
        )
    )
