"""Counters by name, rates and latency percentiles; safe for use by threads."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MAX_DURATIONS = 20_000
_RATE_S = 3.0  # rates are averages over the last seconds
_MAX_TIMESTAMPS = 1024  # per counter, for its rate: 60 frames a second for 17 seconds


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of the latest values, in their unit; None without values."""

    p50: float | None
    p95: float | None


class Metrics:
    """Counters and durations of one run. A count of the zone "door/gate" is included in those of
    the camera "door".

    Counter names: `frames` and `windows` were processed; `skipped_windows` were replaced by a newer
    window before a worker was ready; other names tell where something was dropped or lost.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._measured: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=_MAX_DURATIONS)
        )
        self._percentiles: dict[str, tuple[float, Percentiles]] = {}  # with the time of computation
        self._counted_at: defaultdict[tuple[str, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=_MAX_TIMESTAMPS)
        )

    def count(self, name: str, camera: str = "", by: int = 1) -> None:
        """Add to a counter; `camera` is "" for counts of no camera."""
        with self._lock:
            self._counts[name, camera] += by
            self._counted_at[name, camera].extend([self._now()] * min(by, _MAX_TIMESTAMPS))

    def measure(self, name: str, seconds: float) -> None:
        """Add a duration: the `age` of a displayed prediction, or the time in a stage.

        Stages: `capture`, of a frame from grab to ring; `transport`, of a batch to the worker and
        back without its `inference`; `event_detection`, of a prediction, with the event log.
        """
        with self._lock:
            self._measured[name].append(seconds)

    def counts(self) -> dict[tuple[str, str], int]:
        """All counters by name and camera."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def measured(self) -> list[str]:
        """The names of the measured durations."""
        with self._lock:
            return sorted(self._measured)

    def total(self, name: str) -> int:
        """A counter over all cameras."""
        return self.totals().get(name, 0)

    def totals(self, camera: str | None = None) -> dict[str, int]:
        """All counters by name, of one camera or over all of them."""
        with self._lock:
            sums: Counter[str] = Counter()
            for (name, stream), value in self._counts.items():
                if camera is None or _belongs(stream, camera):
                    sums[name] += value
            return dict(sorted(sums.items()))

    def rate(self, name: str, camera: str = "") -> float:
        """The average count per second over the last 3 s."""
        with self._lock:
            since = self._now() - _RATE_S
            count = sum(
                _count_after(since, counted_at)
                for (key, stream), counted_at in self._counted_at.items()
                if key == name and _belongs(stream, camera)
            )
            return count / _RATE_S

    def percentiles(self, name: str, *, max_age_s: float = 0.0) -> Percentiles:
        """Percentiles of the latest durations in seconds, computed at most `max_age_s` ago."""
        with self._lock:
            now = self._now()
            computed_at, found = self._percentiles.get(name, (-math.inf, Percentiles(None, None)))
            if now - computed_at < max_age_s:
                return found
            if name in self._measured:
                durations = np.fromiter(self._measured[name], np.float64)
                p50, p95 = np.percentile(durations, (50, 95)).tolist()
                found = Percentiles(p50, p95)
            self._percentiles[name] = (now, found)
            return found


def _count_after(since: float, times: deque[float]) -> int:
    """How many of these ascending times are later."""
    count = 0
    for at in reversed(times):
        if at <= since:
            break
        count += 1
    return count


def _belongs(stream: str, camera: str) -> bool:
    return stream == camera or stream.startswith(f"{camera}/")


_SUMMARY_WORDS = {
    "lost_windows": "windows lost",
    "unanswered_windows": "windows in flight at shutdown",
}


def summary(metrics: Metrics) -> str:
    """The run summary, printed at the end."""
    totals = metrics.totals()
    parts = [
        f"{totals.pop(name, 0)} {title}"
        for name, title in (
            ("frames", "frames"),
            ("windows", "windows scored"),
            ("skipped_windows", "skipped"),
            ("events", "events"),
        )
    ]
    parts += [f"{totals.pop(name)} {name}" for name in ("clips", "alerts") if name in totals]
    for name, title in (("age", "latency"), ("inference", "inference")):
        found = metrics.percentiles(name)
        if found.p50 is not None and found.p95 is not None:
            parts.append(f"{title} p50 {found.p50 * 1000:.0f} ms, p95 {found.p95 * 1000:.0f} ms")
    others = ", ".join(
        f"{_SUMMARY_WORDS.get(name, name.replace('_', ' '))} {value}"
        for name, value in totals.items()
    )
    return f"{', '.join(parts)}; {others or 'nothing dropped'}"
