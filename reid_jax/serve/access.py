"""Who may call: the token, the names that the server answers to, and no page of another site.

Nothing here looks at what is asked. A page elsewhere that the user's browser shows could call a server on the user's
own machine: by a name of its own that it lets point here (DNS rebinding), which the check of Host ends, or by plain
cross-site requests, which the checks of Origin and Sec-Fetch-Site end.
"""

import contextlib
import dataclasses
import hashlib
import hmac
import ipaddress
import re
import urllib.parse

import idna
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from reid_jax.errors import InputError, shown
from reid_jax.serve.refusal import Refusal

SHORTEST_TOKEN = 16  # letters
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_HOST = re.compile(r"(\[[^\]]*\]|[^:[]*)(:\d*)?")  # a name or an address, and perhaps a port
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")

# What a browser shows when a link elsewhere is followed; it holds nothing yet.
_LINKED = ("/", "/api")


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may call.

    token: what a client has to know; None for everybody who reaches the server.
    names: of the server, in lower case, as Host may say them. any_address: it may also say any IP address: no name
      can be made to point elsewhere then.
    """

    token: str | None = None
    names: frozenset[str] = LOOPBACK
    any_address: bool = False

    def __post_init__(self):
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise InputError(f"the token has {len(self.token)} letters; give {SHORTEST_TOKEN} or more, made by chance")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise InputError(
                "the token has letters that no header takes; give ASCII letters, digits and signs in a line"
            )

    def check_site(self, method: str, path: str, headers: Headers) -> None:
        """Raises Refusal for a request to another name than the server's, or one that a page of another site makes."""
        host = headers.get("host", "").lower()
        name = _name_of(host)
        if name not in self.names and not (self.any_address and _is_address(name)):
            raise Refusal(
                421, f"this server does not answer to the name {shown(name)!r}; start it with --name for that name"
            )
        origin = headers.get("origin")
        if origin is not None:
            parts = _split(origin)
            if parts is None or parts.scheme not in ("http", "https") or parts.netloc.lower() != host:
                raise Refusal(403, "a page of another site may not call this server")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            is_link = method == "GET" and path in _LINKED and headers.get("sec-fetch-mode") == "navigate"
            if not is_link or headers.get("sec-fetch-dest") != "document":
                raise Refusal(403, "a page of another site may not call this server")

    def knows_token(self, headers: Headers) -> bool:
        """Whether a request shows the token, in its Authorization header or in the cookie that `cookie` gives."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(given.strip())
        name, value = self.cookie()
        return hmac.compare_digest(_cookies(headers).get(name, "").encode(), value.encode())

    def is_token(self, given: str) -> bool:
        """Whether it is the token; takes as long whatever is given."""
        return self.token is not None and hmac.compare_digest(_digest(given), _digest(self.token))

    def cookie(self) -> tuple[str, str]:
        """(name, value) of the cookie that stands for the token; servers of other tokens on the host have others."""
        key = self.token.encode()
        name, value = (hmac.new(key, use, hashlib.sha256).hexdigest() for use in (b"cookie name", b"cookie"))
        return f"reid_jax_{name[:8]}", value


def own_name(name: str) -> str:
    """Returns a name of the server as it is compared with Host: as browsers write it (IDNA), without a port.

    Raises InputError for what Host never says, as an address that begins with https://.
    """
    bare = name.lower() if _is_address(name) else _name_of(name.lower())
    with contextlib.suppress(idna.IDNAError):
        bare = bare if bare.isascii() else idna.encode(bare, uts46=True).decode()
    is_host = _is_address(bare) or (_HOST.fullmatch(name) and _NAME.fullmatch(bare))
    if not is_host:
        raise InputError(f"--name is {shown(name)!r}; give it as people.example.org or xn--bcher-kva.example")
    return bare


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _cookies(headers: Headers) -> dict[str, str]:
    return cookie_parser(headers.get("cookie", ""))


def _split(origin: str) -> urllib.parse.SplitResult | None:
    try:
        return urllib.parse.urlsplit(origin)
    except ValueError:
        return None


def _name_of(host: str) -> str:
    """What stands before the port: a name, or an address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
