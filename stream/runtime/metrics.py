"""Counters by name, rates and latency percentiles; safe for use by threads."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_KEPT_DURATIONS = 20_000
_KEPT_MOMENTS = 1024  # of each counter, for its rate: 60 frames a second for 17 seconds


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of the latest values, in the values' unit; None where there are none."""

    p50: float | None
    p95: float | None


class _Latest:
    """The latest values, so many at most, in memory that is taken once and does not grow."""

    def __init__(self, most: int) -> None:
        self._values = np.full(most, np.nan)
        self._count = 0  # ever put

    def put(self, value: float) -> None:
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def values(self) -> np.ndarray:
        """Those that are kept, in no order."""
        return self._values[: self._count]


class Metrics:
    """What is counted and measured during one run. What is counted of "door/gate", a zone, counts
    for the camera "door" too.

    Counter names: `frames` and `windows` are what went well; `skipped_windows` are those that a
    later one overtook before a worker asked; what was dropped or lost has a name that says where.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._measured: dict[str, _Latest] = {}
        self._percentiles: dict[str, tuple[float, Percentiles]] = {}  # with when they were taken
        self._recent: dict[tuple[str, str], _Latest] = {}

    def count(self, name: str, camera: str = "", by: int = 1) -> None:
        """Add to a counter; `camera` is "" for what belongs to none."""
        with self._lock:
            self._counts[name, camera] += by
            moments = self._recent.get((name, camera))
            if moments is None:
                moments = self._recent[name, camera] = _Latest(_KEPT_MOMENTS)
            for _ in range(min(by, _KEPT_MOMENTS)):
                moments.put(self._now())

    def measure(self, name: str, seconds: float) -> None:
        """Take a duration: `age`, of a prediction when it is shown, or of a stage of the work.

        Stages: `capture`, of a picture from grabbed to kept; `line`, of a batch to the worker and
        back without its `inference`; `judge`, of a prediction, with writing to the log.
        """
        with self._lock:
            durations = self._measured.get(name)
            if durations is None:
                durations = self._measured[name] = _Latest(_KEPT_DURATIONS)
            durations.put(seconds)

    def counts(self) -> dict[tuple[str, str], int]:
        """All counters by name and by what they were counted of."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def measured(self) -> list[str]:
        """The names of which there are durations."""
        with self._lock:
            return sorted(self._measured)

    def total(self, name: str) -> int:
        """A counter over all cameras."""
        with self._lock:
            return sum(value for (key, _), value in self._counts.items() if key == name)

    def totals(self, camera: str | None = None) -> dict[str, int]:
        """All counters by name, of one camera or over all of them."""
        with self._lock:
            sums: Counter[str] = Counter()
            for (name, whose), value in self._counts.items():
                if camera is None or _belongs(whose, camera):
                    sums[name] += value
            return dict(sorted(sums.items()))

    def rate(self, name: str, camera: str = "", *, over_s: float = 3.0) -> float:
        """How many a second there were of late."""
        with self._lock:
            since = self._now() - over_s
            count = sum(
                np.count_nonzero(moments.values() > since)
                for (key, whose), moments in self._recent.items()
                if key == name and _belongs(whose, camera)
            )
            return count / over_s

    def percentiles(self, name: str, *, not_older_than_s: float = 0.0) -> Percentiles:
        """Of the latest durations of that name, in seconds; taken anew where they are older."""
        with self._lock:
            now = self._now()
            taken_at, found = self._percentiles.get(name, (-math.inf, Percentiles(None, None)))
            if now - taken_at < not_older_than_s:
                return found
            if name in self._measured:
                p50, p95 = np.percentile(self._measured[name].values(), (50, 95)).tolist()
                found = Percentiles(p50, p95)
            self._percentiles[name] = (now, found)
            return found


def _belongs(stream: str, camera: str) -> bool:
    return stream == camera or stream.startswith(f"{camera}/")


def summary(metrics: Metrics) -> str:
    """The lines that are printed when a run ends."""
    totals = metrics.totals()
    parts = [
        f"{totals.pop(name, 0)} {name.replace('_', ' ')}"
        for name in ("frames", "windows", "skipped_windows", "events")
    ]
    parts += [f"{totals.pop(name)} {name}" for name in ("clips", "alerts") if name in totals]
    for name, shown in (("age", "age of predictions"), ("inference", "inference")):
        found = metrics.percentiles(name)
        if found.p50 is not None and found.p95 is not None:
            parts.append(f"{shown} p50 {found.p50 * 1000:.0f} ms, p95 {found.p95 * 1000:.0f} ms")
    others = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in totals.items())
    return f"{', '.join(parts)}; {others or 'nothing dropped'}"
