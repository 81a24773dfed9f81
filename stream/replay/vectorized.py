"""Detects events in whole columns of scores, with the same result as a Detector. Pure.

Fast enough to preview a policy while a person moves a slider; tests compare both detectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from stream.config.events import UNKNOWN, EventsConfig
from stream.events.detector import deterministic_ids
from stream.messages import Event, LoggedEvent
from stream.replay.score_table import ScoreTable

_NEGLIGIBLE = 1e-30  # smaller weights become 0, because denormal numbers are slow


class Smoother:
    """Exponential smoothing of the columns of a table, with one time constant."""

    def __init__(self, table: ScoreTable, smoothing_s: float) -> None:
        self._table, self._is_off = table, smoothing_s == 0 or not len(table)
        if self._is_off:
            return
        # All blocks are smoothed in parallel; then the carry from the block before is added.
        self._length = max(1, math.isqrt(len(table)))
        self._blocks = -(-len(table) // self._length)
        keep = np.zeros(self._length * self._blocks)
        steps = np.diff(table.at_s)
        # At a restart, time may go back.
        keep[1 : len(table)] = np.where(
            table.restarts[1:], 0.0, np.exp(-np.abs(steps) / smoothing_s)
        )
        self._keep = self._fold(keep)
        carry = np.cumprod(self._keep, axis=0)
        carry[carry < _NEGLIGIBLE] = 0.0
        self._carry = carry  # weight of the last value before a block: (length, blocks)

    @property
    def bytes(self) -> int:
        return 0 if self._is_off else 2 * self._keep.nbytes

    def __call__(self, column: np.ndarray) -> np.ndarray:
        """Smooth a column: float64, (windows,)."""
        if self._is_off:
            return column
        padded = np.zeros(self._length * self._blocks)
        padded[: len(column)] = column
        smoothed = (1 - self._keep) * self._fold(padded)
        for row in range(1, self._length):
            smoothed[row] += self._keep[row] * smoothed[row - 1]
        before = [0.0]
        for value, carry in zip(smoothed[-1].tolist(), self._carry[-1].tolist(), strict=True):
            before.append(value + carry * before[-1])
        smoothed += self._carry * np.array(before[:-1])
        return smoothed.T.ravel()[: len(column)]

    def _fold(self, values: np.ndarray) -> np.ndarray:
        """(length * blocks,) -> (length, blocks); a row is computed at once."""
        return np.ascontiguousarray(values.reshape(self._blocks, self._length).T)


def candidate_labels(table: ScoreTable, policy: EventsConfig) -> list[str]:
    """The labels of a table whose maximum probability can start an event."""
    excluded = table.background | policy.exclude
    found = [
        label
        for label, peak in zip(table.labels, table.peaks.tolist(), strict=True)
        if label not in excluded
        and (policy.include is None or label in policy.include)
        and peak >= policy.policy(label).threshold - 1e-9  # rounding of the smoothing
    ]
    if policy.unknown_below is not None and UNKNOWN not in excluded:
        found.append(UNKNOWN)
    return found


def detect_events(
    table: ScoreTable, policy: EventsConfig, smoothed: Callable[[str], np.ndarray]
) -> list[LoggedEvent]:
    """The events of a policy on a table, unordered; all are closed.

    `smoothed` returns the smoothed column of a label.
    """
    bounds = np.append(np.flatnonzero(table.restarts), len(table))
    return [
        logged
        for label in candidate_labels(table, policy)
        for logged in _LabelDetector(table, policy.policy(label), label, bounds).events(
            smoothed(label)
        )
    ]


@dataclass(slots=True)
class _Activation:
    """See stream/events/detector.py."""

    start_s: float
    since_s: float
    reported: int | None = None  # index of the window at which it became an event
    latest_s: float = 0.0
    peak: float = -math.inf
    peak_s: float = 0.0
    total: float = 0.0
    count: int = 0
    ended_s: float | None = None


class _LabelDetector:
    """Detects the events of one label, from one crossing of a threshold to the next."""

    def __init__(
        self, table: ScoreTable, policy: EventsConfig, label: str, bounds: np.ndarray
    ) -> None:
        self._table, self._policy, self._label, self._bounds = table, policy, label, bounds
        self._at_s = table.at_s
        self._new_id = deterministic_ids(f"{table.run} {table.camera}")
        self._last_end_s = -policy.cooldown  # the end of the latest event
        self._active: _Activation | None = None
        self._events: list[LoggedEvent] = []

    def events(self, values: np.ndarray) -> list[LoggedEvent]:
        """The events of a smoothed column, (windows,)."""
        above = np.flatnonzero(values >= self._policy.threshold)
        below = np.append(np.flatnonzero(values < self._policy.release_threshold), len(values))
        first, at, last_section = 0, 0, 0
        stop = int(self._bounds[0]) if len(self._bounds) else 0
        while True:
            position = int(np.searchsorted(above, at))
            if position == len(above):
                break
            at = int(above[position])
            if at >= stop:
                self._flush(first, stop)
                section = int(np.searchsorted(self._bounds, at, side="right"))
                earliest_s = self._table.end_s[self._bounds[last_section:section]].min()
                if self._last_end_s > earliest_s:  # another clock: the camera was added again
                    self._last_end_s = -self._policy.cooldown
                last_section = section
                first, stop = int(self._bounds[section - 1]), int(self._bounds[section])
            free_at = self._cross(at, first, stop)
            if free_at > at:  # still in the cooldown
                at = free_at
                continue
            until = min(int(below[np.searchsorted(below, at)]), stop)
            self._extend(values, at, until)
            if until < stop:
                self._release(until)
            at = until
        self._flush(first, stop)
        return self._events

    def _cross(self, at: int, first: int, stop: int) -> int:
        """Start or resume at window `at`, and return `at`; or return a later window to try."""
        policy, active = self._policy, self._active
        lag_s, first_start_s = self._lag(1 - policy.threshold), float(self._table.start_s[first])
        since_s = float(self._at_s[at]) - (0.0 if at == first else lag_s)
        start_s = first_start_s if at == first else max(first_start_s, since_s)
        if active is not None and active.ended_s is not None:
            if start_s <= active.ended_s + policy.merge_gap:
                active.ended_s = None
                return at
            self._close(active, active.ended_s)
        free_s = self._last_end_s + policy.cooldown
        if policy.cooldown and start_s < free_s:
            later = first + np.searchsorted(self._at_s[first:stop] - lag_s, free_s)
            return max(at + 1, int(later))
        self._active = _Activation(max(start_s, free_s), since_s)
        return at

    def _extend(self, values: np.ndarray, at: int, until: int) -> None:
        active = self._active
        assert active is not None  # set by _cross
        part = values[at:until]
        best = int(part.argmax())
        if part[best] > active.peak:
            active.peak, active.peak_s = float(part[best]), float(self._at_s[at + best])
        active.latest_s = float(self._at_s[until - 1])
        active.total += float(part.sum())
        active.count += until - at
        if active.reported is None:
            lasted = self._at_s[at:until] - active.since_s >= self._policy.min_duration
            if lasted[-1]:
                active.reported = at + int(lasted.argmax())

    def _release(self, until: int) -> None:
        active = self._active
        assert active is not None
        if active.reported is None:  # too short
            self._active = None
            return
        end_s = float(self._at_s[until]) - self._lag(self._policy.release_threshold)
        active.ended_s = max(active.start_s + self._policy.min_duration, end_s)
        if not self._policy.merge_gap:
            self._close(active, active.ended_s)

    def _flush(self, first: int, stop: int) -> None:
        """Close the open event at the end of a section."""
        active = self._active
        if active is None:
            return
        if active.ended_s is not None:
            self._close(active, active.ended_s)
        elif active.reported is not None:
            reason = "stop" if stop == len(self._table) else "gap"
            self._close(active, max(active.latest_s, float(self._table.end_s[stop - 1])), reason)
        self._active = None

    def _close(self, active: _Activation, end_s: float, closed_by: str = "") -> None:
        self._active, self._last_end_s = None, end_s
        assert active.reported is not None
        event = Event(
            id=self._new_id(self._label, active.start_s),
            camera=self._table.camera,
            label=self._label,
            start_s=active.start_s,
            latest_s=active.latest_s,
            end_s=end_s,
            detected_s=float(self._table.end_s[active.reported]),
            peak=active.peak,
            peak_s=active.peak_s,
            mean=active.total / max(1, active.count),
            closed_by=closed_by,
        )
        start_utc = datetime.fromtimestamp(self._table.zero_utc[active.reported], timezone.utc)
        self._events.append(LoggedEvent(event, "end", start_utc, self._table.model))

    def _lag(self, left: float) -> float:
        return self._policy.smoothing * math.log(1 / max(left, 0.05))
