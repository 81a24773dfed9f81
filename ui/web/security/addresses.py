"""Which Host and Origin headers are ours: against pages that point their own name at this machine
(DNS rebinding), and against pages that ask in the name of whoever looks at them."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

_HOST = re.compile(r"(?P<name>[a-z0-9_-][a-z0-9._-]{0,252}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?")


class Addresses:
    """The names under which a server that listens on `host` may be asked for."""

    def __init__(self, host: str, *, https: bool) -> None:
        self._only_here = is_loopback(host)
        self._https = https
        own = socket.gethostname().lower()
        # To a server that others can't reach, only this machine itself may come by its name.
        self._own = {"localhost"} if self._only_here else {"localhost", own, f"{own}.local"}

    def problem(self, hosts: list[str], names: Iterable[str]) -> str:
        """Why the values of a request's Host headers are refused; "" if they are fine.

        The port is free: tunnels and containers change it, and a foreign page gains nothing by it.
        """
        if len(hosts) != 1:
            return f"one Host header is needed, {len(hosts)} came"
        match = _HOST.fullmatch(hosts[0].lower())
        if match is None:
            return "the Host header is not a host name"
        name = match["name"]
        if name in self._own or name in {one.lower() for one in names}:
            return ""
        try:
            ipaddress.ip_address(
                name.strip("[]")
            )  # no name at all: no page can have one as its own
        except ValueError:
            return f"{name} is not known as a name of this machine: add it to dashboard.names"
        if self._only_here and not is_loopback(name):
            return f"this page is for this machine alone, not for {name}: see dashboard.host"
        return ""

    def is_same_site(self, host: str, origin: str | None, fetch_site: str | None) -> bool:
        """Whether a request comes from a page of ours, or from no page.

        `host`, `origin` and `fetch_site` are its Host, Origin and Sec-Fetch-Site headers.
        """
        if origin is None:
            return fetch_site in (None, "same-origin", "none")
        schemes = ("https",) if self._https else ("http", "https")  # a proxy may speak https for us
        return origin.lower() in {f"{scheme}://{host.lower()}" for scheme in schemes}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def party(address: str) -> str:
    """An address as one party: of IPv6 the network, whose 2**64 addresses anybody may use."""
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
