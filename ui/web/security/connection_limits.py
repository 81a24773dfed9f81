"""How many visitors there are of each address, so that one can't take all places."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from ui.web.security.addresses import is_loopback, party


class TooManyHereError(Exception):
    """An address has its share of the places."""


class Places:
    """Counts visitors by address. Belongs to the event loop's thread.

    This machine's own address is not counted: behind it may be a proxy with everybody.
    """

    def __init__(self) -> None:
        self._visitors: Counter[str] = Counter()

    @contextlib.contextmanager
    def take(self, address: str, most: int) -> Iterator[None]:
        """A visitor of that address. Raises TooManyHereError if they have half of the places."""
        who = party(address)
        here = self._visitors[who]
        if here >= max(1, most // 2) and not is_loopback(who):
            raise TooManyHereError(f"{address} has {here} of {most} places")
        self._visitors[who] += 1
        try:
            yield
        finally:
            self._visitors[who] -= 1
            if not self._visitors[who]:
                del self._visitors[who]
