"""Backoff: how long to wait before the next attempt. Pure."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first_s` to `max_s` seconds, each with a quarter of jitter.

    Jitter keeps many clients from retrying at the same moment after an outage.
    """

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s, self._max_s = first_s, max_s
        self._delay_s = first_s

    def next_s(self) -> float:
        """The delay before the next attempt, in seconds, at most 1.25 `max_s`."""
        delay_s = min(self._delay_s, self._max_s)
        self._delay_s = 2 * delay_s
        return delay_s * random.uniform(0.75, 1.25)

    def reset(self) -> None:
        """An attempt succeeded: start again with the shortest delay."""
        self._delay_s = self._first_s
