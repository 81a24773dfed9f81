"""Events of whole columns of scores at once: those that a Detector makes of them one by one. Pure.

For a policy that is tried while a person moves a slider; tests hold both against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np

from stream.config.events import UNKNOWN, EventsConfig
from stream.events.detector import ids_named_after
from stream.messages import Event, LoggedEvent
from stream.replay.score_table import ScoreTable

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NOTHING = 1e-30  # of what was before is left: less only slows the processor down


class Smoother:
    """The exponential smoothing of a table's columns, with one time constant."""

    def __init__(self, table: ScoreTable, smoothing_s: float) -> None:
        self._table, self._off = table, smoothing_s == 0 or not len(table)
        if self._off:
            return
        # In blocks side by side, each without what was before it, which is added afterwards.
        self._long = max(1, math.isqrt(len(table)))
        self._blocks = -(-len(table) // self._long)
        keep = np.zeros(self._long * self._blocks)
        steps = np.diff(table.at_s)
        # Where a section begins anew, time may go back.
        keep[1 : len(table)] = np.where(table.fresh[1:], 0.0, np.exp(-np.abs(steps) / smoothing_s))
        self._keep = self._folded(keep)
        left = np.cumprod(self._keep, axis=0)
        left[left < _NOTHING] = 0.0
        self._left = left  # of what came before a block: (long, blocks)

    @property
    def bytes(self) -> int:
        return 0 if self._off else 2 * self._keep.nbytes

    def __call__(self, column: np.ndarray) -> np.ndarray:
        """float64 (windows,) -> the same, smoothed."""
        if self._off:
            return column
        padded = np.zeros(self._long * self._blocks)
        padded[: len(column)] = column
        smoothed = (1 - self._keep) * self._folded(padded)
        for row in range(1, self._long):
            smoothed[row] += self._keep[row] * smoothed[row - 1]
        before = [0.0]
        for value, left in zip(smoothed[-1].tolist(), self._left[-1].tolist(), strict=True):
            before.append(value + left * before[-1])
        smoothed += self._left * np.array(before[:-1])
        return smoothed.T.ravel()[: len(column)]

    def _folded(self, values: np.ndarray) -> np.ndarray:
        """(long * blocks,) -> (long, blocks), in a row what is computed at once."""
        return np.ascontiguousarray(values.reshape(self._blocks, self._long).T)


def watched_labels(table: ScoreTable, policy: EventsConfig) -> list[str]:
    """The labels of a table that can make events at all, by what they ever reached."""
    silent = table.background | policy.ignore
    found = [
        label
        for label, largest in zip(table.labels, table.largest.tolist(), strict=True)
        if label not in silent
        and (policy.watch is None or label in policy.watch)
        and largest >= policy.policy(label).enter - 1e-9  # smoothing rounds
    ]
    if policy.unknown is not None and UNKNOWN not in silent:
        found.append(UNKNOWN)
    return found


def segment(
    table: ScoreTable, policy: EventsConfig, smoothed: Callable[[str], np.ndarray]
) -> list[LoggedEvent]:
    """The events of a table under a policy, in no order; all of them are closed.

    `smoothed` gives the smoothed column of a label.
    """
    bounds = np.append(np.flatnonzero(table.fresh), len(table))
    return [
        logged
        for label in watched_labels(table, policy)
        for logged in _Label(table, policy.policy(label), label, bounds).events(smoothed(label))
    ]


@dataclass(slots=True)
class _Run:
    """See stream/events/detector.py; places are those of windows."""

    start_s: float
    since_s: float
    opened: int | None = None
    latest_s: float = 0.0
    peak: float = -math.inf
    peak_s: float = 0.0
    total: float = 0.0
    count: int = 0
    ended_s: float | None = None


class _Label:
    """Follows one label through a table, from one crossing of a threshold to the next."""

    def __init__(
        self, table: ScoreTable, policy: EventsConfig, label: str, bounds: np.ndarray
    ) -> None:
        self._table, self._policy, self._label, self._bounds = table, policy, label, bounds
        self._at_s = table.at_s
        self._new_id = ids_named_after(f"{table.run} {table.camera}")
        self._over_s = -policy.cool_down  # the end of the latest event
        self._run: _Run | None = None
        self._events: list[LoggedEvent] = []

    def events(self, values: np.ndarray) -> list[LoggedEvent]:
        """`values` are smoothed, (windows,)."""
        enters = np.flatnonzero(values >= self._policy.enter)
        below = np.append(np.flatnonzero(values < self._policy.leave), len(values))
        begins, at, was = 0, 0, 0
        ends = int(self._bounds[0]) if len(self._bounds) else 0
        while True:
            place = int(np.searchsorted(enters, at))
            if place == len(enters):
                break
            at = int(enters[place])
            if at >= ends:
                self._flush(begins, ends)
                section = int(np.searchsorted(self._bounds, at, side="right"))
                earliest_s = self._table.end_s[self._bounds[was:section]].min()
                if self._over_s > earliest_s:  # by another clock: a camera that came again
                    self._over_s = -self._policy.cool_down
                was = section
                begins, ends = int(self._bounds[section - 1]), int(self._bounds[section])
            free_at = self._enter(at, begins, ends)
            if free_at > at:  # it cools down
                at = free_at
                continue
            until = min(int(below[np.searchsorted(below, at)]), ends)
            self._go_on(values, at, until)
            if until < ends:
                self._leave(until)
            at = until
        self._flush(begins, ends)
        return self._events

    def _enter(self, at: int, begins: int, ends: int) -> int:
        """Begin, or go on; or the place from which on it may begin."""
        policy, run = self._policy, self._run
        lag_s, begin_s = self._lag(1 - policy.enter), float(self._table.start_s[begins])
        since_s = float(self._at_s[at]) - (0.0 if at == begins else lag_s)
        began_s = begin_s if at == begins else max(begin_s, since_s)
        if run is not None and run.ended_s is not None:
            if began_s <= run.ended_s + policy.merge_gap:
                run.ended_s = None
                return at
            self._close(run, run.ended_s)
        free_s = self._over_s + policy.cool_down
        if policy.cool_down and began_s < free_s:
            later = begins + np.searchsorted(self._at_s[begins:ends] - lag_s, free_s)
            return max(at + 1, int(later))
        self._run = _Run(max(began_s, free_s), since_s)
        return at

    def _go_on(self, values: np.ndarray, at: int, until: int) -> None:
        run = self._run
        assert run is not None  # it has entered
        part = values[at:until]
        best = int(part.argmax())
        if part[best] > run.peak:
            run.peak, run.peak_s = float(part[best]), float(self._at_s[at + best])
        run.latest_s = float(self._at_s[until - 1])
        run.total += float(part.sum())
        run.count += until - at
        if run.opened is None:
            lasted = self._at_s[at:until] - run.since_s >= self._policy.minimum
            if lasted[-1]:
                run.opened = at + int(lasted.argmax())

    def _leave(self, until: int) -> None:
        run = self._run
        assert run is not None
        if run.opened is None:  # too short
            self._run = None
            return
        left_s = float(self._at_s[until]) - self._lag(self._policy.leave)
        run.ended_s = max(run.start_s + self._policy.minimum, left_s)
        if not self._policy.merge_gap:
            self._close(run, run.ended_s)

    def _flush(self, begins: int, ends: int) -> None:
        """At the end of a section nobody knows how it goes on."""
        run = self._run
        if run is None:
            return
        if run.ended_s is not None:
            self._close(run, run.ended_s)
        elif run.opened is not None:
            why = "stop" if ends == len(self._table) else "gap"
            self._close(run, max(run.latest_s, float(self._table.end_s[ends - 1])), why)
        self._run = None

    def _close(self, run: _Run, end_s: float, closed_by: str = "") -> None:
        self._run, self._over_s = None, end_s
        assert run.opened is not None
        event = Event(
            id=self._new_id(self._label, run.start_s),
            camera=self._table.camera,
            label=self._label,
            start_s=run.start_s,
            latest_s=run.latest_s,
            end_s=end_s,
            detected_s=float(self._table.end_s[run.opened]),
            peak=run.peak,
            peak_s=run.peak_s,
            mean=run.total / max(1, run.count),
            closed_by=closed_by,
        )
        began = _EPOCH + timedelta(seconds=float(self._table.zero[run.opened]))
        self._events.append(LoggedEvent(event, "end", began, self._table.model))

    def _lag(self, left: float) -> float:
        return self._policy.smoothing * math.log(1 / max(left, 0.05))
