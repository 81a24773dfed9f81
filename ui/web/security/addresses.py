"""Checks of Host and Origin headers, against DNS rebinding and cross-site requests. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

_HOST = re.compile(r"(?P<name>[a-z0-9_-][a-z0-9._-]{0,252}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?")


class AllowedHosts:
    """The host names that a server listening on `host` accepts."""

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
