"""Checks and limits by address: Host and Origin headers, connections, login attempts."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import re
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_HOST = re.compile(r"(?P<name>[a-z0-9_-][a-z0-9._-]{0,252}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?")

# Of login attempts.
_FREE_ATTEMPTS = 4  # failures before the first delay
_MAX_DELAY_S = 60.0
_RESET_AFTER_S = 15 * 60.0  # without a failure
_MAX_KEYS = 4096  # addresses and names, each
_GLOBAL_BURST, _GLOBAL_INTERVAL_S = 30.0, 2.0  # token bucket: limits attempts by many addresses


class AllowedHosts:
    """The host names that a server listening on `host` accepts, against DNS rebinding."""

    def __init__(self, host: str, *, https: bool) -> None:
        self._only_here = is_loopback(host)
        self._https = https
        own = socket.gethostname().lower()
        # A server on the loopback address is only reached as localhost.
        self._own = {"localhost"} if self._only_here else {"localhost", own, f"{own}.local"}

    def problem(self, hosts: list[str], names: Iterable[str]) -> str:
        """Why a request's Host headers are rejected; "" if they are valid.

        Any port is accepted: tunnels and containers change it, and a foreign page gains nothing.
        """
        if len(hosts) != 1:
            return f"exactly one Host header is needed, got {len(hosts)}"
        match = _HOST.fullmatch(hosts[0].lower())
        if match is None:
            return "the Host header is not a host name"
        name = match["name"]
        if name in self._own or name in {one.lower() for one in names}:
            return ""
        try:
            # DNS rebinding needs a name: a plain IP address is safe.
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return f"{name} is not an allowed host name: add it to dashboard.allowed_hosts"
        if self._only_here and not is_loopback(name):
            return f"the dashboard is served on localhost only, not on {name}: see dashboard.host"
        return ""

    def is_same_site(self, host: str, origin: str | None, fetch_site: str | None) -> bool:
        """Whether a request was sent by a page of ours, or by no page.

        `host`, `origin` and `fetch_site` are its Host, Origin and Sec-Fetch-Site headers.
        """
        if origin is None:
            return fetch_site in (None, "same-origin", "none")
        schemes = ("https",) if self._https else ("http", "https")  # a proxy may terminate TLS
        return origin.lower() in {f"{scheme}://{host.lower()}" for scheme in schemes}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def rate_limit_key(address: str) -> str:
    """The key of an address for rate limits: of IPv6 its /64 network, which one client owns."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        if not parsed.is_loopback:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class AddressLimitError(Exception):
    """An address has as many connections as it may have."""


class PerAddressLimit:
    """Counts connections by address. Belongs to the event loop's thread.

    The loopback address has no limit: it may be a proxy for all clients.
    """

    def __init__(self) -> None:
        self._connections: Counter[str] = Counter()

    @contextlib.contextmanager
    def acquire(self, address: str, capacity: int) -> Iterator[None]:
        """Count one connection. Raises AddressLimitError if `address` has half of `capacity`."""
        key = rate_limit_key(address)
        count = self._connections[key]
        if count >= max(1, capacity // 2) and not is_loopback(key):
            raise AddressLimitError(f"{address} has {count} of {capacity} connections")
        self._connections[key] += 1
        try:
            yield
        finally:
            self._connections[key] -= 1
            if not self._connections[key]:
                del self._connections[key]


class TooManyAttemptsError(Exception):
    """The password was not verified."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too many wrong passwords: try again in {math.ceil(retry_after_s)} s")
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Attempts:
    failures: int = 0
    last: float = 0.0
    blocked_until: float = 0.0


class LoginThrottle:
    """Counts attempts. Each is a failure from its start, so parallel attempts gain nothing."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._addresses: OrderedDict[str, _Attempts] = OrderedDict()
        self._names: OrderedDict[str, _Attempts] = OrderedDict()
        self._tokens = _GLOBAL_BURST
        self._refilled_at = now()

    def start_attempt(self, address: str, name: str) -> None:
        """Count an attempt. Raises TooManyAttemptsError, without counting it, if it must wait."""
        now = self._now()
        passed = max(0.0, now - self._refilled_at)
        self._tokens = min(_GLOBAL_BURST, self._tokens + passed / _GLOBAL_INTERVAL_S)
        self._refilled_at = now
        keys = ((self._addresses, rate_limit_key(address)), (self._names, name[:64]))
        # Only read: rejected attempts must not evict other keys.
        delay_s = max(by[key].blocked_until - now if key in by else 0.0 for by, key in keys)
        if self._tokens < 1.0:
            delay_s = max(delay_s, (1.0 - self._tokens) * _GLOBAL_INTERVAL_S)
        if delay_s > 0:
            raise TooManyAttemptsError(delay_s)
        self._tokens -= 1.0
        for by, key in keys:
            attempts = _attempts(by, key, now)
            attempts.failures += 1
            attempts.last = now
            if attempts.failures > _FREE_ATTEMPTS:
                exponent = min(attempts.failures - _FREE_ATTEMPTS - 1, 10)
                attempts.blocked_until = now + min(_MAX_DELAY_S, 2.0**exponent)

    def record_success(self, address: str, name: str) -> None:
        """The password was right: this attempt is no failure.

        Resets the failures of the name but not of the address: else a user could guess other
        users' passwords without limit, by logging in with their own in between.
        """
        self._tokens = min(_GLOBAL_BURST, self._tokens + 1.0)
        self._names.pop(name[:64], None)
        attempts = self._addresses.get(rate_limit_key(address))
        if attempts is not None:
            attempts.failures = max(0, attempts.failures - 1)
            attempts.blocked_until = 0.0


def _attempts(by: OrderedDict[str, _Attempts], key: str, now: float) -> _Attempts:
    attempts = by.pop(key, None)
    if attempts is None or now - attempts.last > _RESET_AFTER_S:
        attempts = _Attempts()
    by[key] = attempts  # least recently used first
    if len(by) > _MAX_KEYS:
        by.popitem(last=False)
    return attempts
