"""How many requests an address may make: a bucket for each, which fills with time (the token bucket)."""

import collections
import ipaddress
import math
import time
from collections.abc import Callable

_ADDRESSES = 10_000  # remembered; the one that has asked for nothing the longest is forgotten first


class RateLimit:
    """`rate` requests a second over time from one address, and `burst` at once; a rate of 0 bounds nothing."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()

    def wait(self, address: str, cost: float = 1.0) -> int:
        """Takes `cost` for a request; returns 0, or the seconds to wait before one that is refused now."""
        if not self._rate:
            return 0
        key, now = subscriber(address), self._clock()
        left, since = self._buckets.pop(key, (float(self._burst), now))
        left = min(self._burst, left + (now - since) * self._rate)
        refused = left < cost
        self._buckets[key] = (left if refused else left - cost, now)
        if len(self._buckets) > _ADDRESSES:
            self._buckets.popitem(last=False)
        return math.ceil((cost - left) / self._rate) if refused else 0


def subscriber(address: str) -> str:
    """Returns the address, of version 6 the network that one subscriber has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
