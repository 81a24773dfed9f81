"""Throttles login attempts: by address, by user name, and of all clients together."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ui.web.security.addresses import rate_limit_key

_FREE_ATTEMPTS = 4  # failures before the first delay
_MAX_DELAY_S = 60.0
_RESET_AFTER_S = 15 * 60.0  # without a failure
_MAX_KEYS = 4096  # addresses and names, each
_GLOBAL_BURST, _GLOBAL_INTERVAL_S = 30.0, 2.0  # token bucket: limits attempts by many addresses


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
