"""Limits connections per address, so that one client can't use the whole capacity."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from ui.web.security.addresses import is_loopback, rate_limit_key


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
