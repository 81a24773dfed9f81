"""How often a password may be tried: by one address, for one name, and by all together."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ui.web.security.addresses import party

_FREE = 4  # wrong ones before the first wait
_LONGEST_S = 60.0
_FORGOTTEN_S = 15 * 60.0  # after so long without a wrong one
_REMEMBERED = 4096  # addresses and names, each
_ALL_BURST, _ALL_EVERY_S = 30.0, 2.0  # so that many addresses can't try without bound


class TooManyTriesError(Exception):
    """A password was not even looked at."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong passwords: try again in {math.ceil(wait_s)} s")
        self.wait_s = wait_s


@dataclass(slots=True)
class _Tries:
    wrong: int = 0
    last: float = 0.0
    until: float = 0.0


class SlowDown:
    """Counts tries. Each counts as wrong from its start, so that many at once gain nothing."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._addresses: OrderedDict[str, _Tries] = OrderedDict()
        self._names: OrderedDict[str, _Tries] = OrderedDict()
        self._left = _ALL_BURST
        self._left_at = now()

    def begin(self, address: str, name: str) -> None:
        """A password is about to be tried. Raises TooManyTriesError where it may not be."""
        now = self._now()
        passed = max(0.0, now - self._left_at)
        self._left = min(_ALL_BURST, self._left + passed / _ALL_EVERY_S)
        self._left_at = now
        keys = ((self._addresses, party(address)), (self._names, name[:64]))
        # Only looked at: tries that are refused must not push others out of memory.
        wait_s = max(of[key].until - now if key in of else 0.0 for of, key in keys)
        if self._left < 1.0:
            wait_s = max(wait_s, (1.0 - self._left) * _ALL_EVERY_S)
        if wait_s > 0:
            raise TooManyTriesError(wait_s)
        self._left -= 1.0
        for of, key in keys:
            tries = _tries(of, key, now)
            tries.wrong += 1
            tries.last = now
            if tries.wrong > _FREE:
                tries.until = now + min(_LONGEST_S, 2.0 ** min(tries.wrong - _FREE - 1, 10))

    def right(self, address: str, name: str) -> None:
        """The password that was tried was right: its try does not count.

        The name's former tries are forgiven, the address's are not: else whoever has an account
        could try another's password as often as they like, with a right one of theirs in between.
        """
        self._left = min(_ALL_BURST, self._left + 1.0)
        self._names.pop(name[:64], None)
        tries = self._addresses.get(party(address))
        if tries is not None:
            tries.wrong = max(0, tries.wrong - 1)
            tries.until = 0.0


def _tries(of: OrderedDict[str, _Tries], key: str, now: float) -> _Tries:
    tries = of.pop(key, None)
    if tries is None or now - tries.last > _FORGOTTEN_S:
        tries = _Tries()
    of[key] = tries  # the one used last is forgotten last
    if len(of) > _REMEMBERED:
        of.popitem(last=False)
    return tries
