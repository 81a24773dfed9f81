"""Counters by name, rates and latency percentiles; safe for use by threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_KEPT_AGES = 20_000
_KEPT_MOMENTS = 1024  # of each counter, for its rate


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of the latest values, in the values' unit; None where there are none."""

    p50: float | None
    p95: float | None


class Metrics:
    """What is counted and measured during one run.

    Counter names: `frames` and `windows` are what went well; `skipped_windows` were due while
    the worker was busy; whatever was dropped or lost has a name that says where.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._ages: deque[float] = deque(maxlen=_KEPT_AGES)
        self._recent: dict[tuple[str, str], deque[float]] = {}

    def count(self, name: str, camera: str = "", by: int = 1) -> None:
        """Add to a counter; `camera` is "" for what belongs to none."""
        with self._lock:
            self._counts[name, camera] += by
            moments = self._recent.setdefault((name, camera), deque(maxlen=_KEPT_MOMENTS))
            moments.extend([self._now()] * min(by, _KEPT_MOMENTS))

    def age(self, seconds: float) -> None:
        """Take the age of a prediction at the moment when it is shown."""
        with self._lock:
            self._ages.append(seconds)

    def total(self, name: str) -> int:
        """A counter over all cameras."""
        with self._lock:
            return sum(value for (key, _), value in self._counts.items() if key == name)

    def totals(self) -> dict[str, int]:
        """All counters over all cameras, by name."""
        with self._lock:
            sums: Counter[str] = Counter()
            for (name, _), value in self._counts.items():
                sums[name] += value
            return dict(sorted(sums.items()))

    def rate(self, name: str, camera: str = "", *, over_s: float = 3.0) -> float:
        """How many a second there were of late."""
        with self._lock:
            now = self._now()
            moments = self._recent.get((name, camera), ())
            return sum(moment > now - over_s for moment in moments) / over_s

    def ages(self) -> Percentiles:
        """Of the ages of predictions, in seconds."""
        with self._lock:
            values = np.array(self._ages)
        if not len(values):
            return Percentiles(None, None)
        return Percentiles(float(np.percentile(values, 50)), float(np.percentile(values, 95)))


def summary(metrics: Metrics) -> str:
    """The lines that are printed when a run ends."""
    totals = metrics.totals()
    ages = metrics.ages()
    parts = [
        f"{totals.pop(name, 0)} {name.replace('_', ' ')}"
        for name in ("frames", "windows", "skipped_windows", "events")
    ]
    if ages.p50 is not None and ages.p95 is not None:
        parts.append(
            f"age of predictions p50 {ages.p50 * 1000:.0f} ms, p95 {ages.p95 * 1000:.0f} ms"
        )
    others = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in totals.items())
    return f"{', '.join(parts)}; {others or 'nothing dropped'}"
