"""What another policy would have logged of kept scores, fast enough to follow a slider.

May be used from any thread; owns none. What was read is kept for the next trial, in bounded memory.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stream.config.events import UNKNOWN, EventsConfig, missing_label
from stream.messages import LoggedEvent
from stream.replay.replay import Difference, Replayed, Stretch, compare
from stream.replay.score_table import ScoreTable, kept_streams, read_tables, score_files
from stream.replay.vectorized import Smoother, segment
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery

_MOST_WINDOWS = 2_500_000  # a week of four a second
_MOST = 250_000_000  # bytes that are kept for the next trials
_COLUMNS = 50_000_000  # of them for smoothed columns of the same scores
_SETTLED_S = 5.0  # scores are written within that time
_MOST_EVENTS = 20_000  # that are compared
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CLOCK_SET_S = 1.0


class TrialError(ValueError):
    """A trial that can't be made. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a label's smoothed curve without a gap: seconds since 1970, lowest, highest."""

    at: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a policy would have logged in a stretch of time, and what was."""

    events: tuple[LoggedEvent, ...]
    rows: tuple[Mapping[str, Any], ...]  # of the log
    difference: Difference
    windows: int
    since: datetime  # there are scores from then on
    is_cut: bool  # there are older ones, too many to be looked at
    other_models: tuple[str, ...]  # whose scores were left out


@dataclass(frozen=True, slots=True)
class About:
    """On which scores a policy is tried."""

    stream: str  # a camera, or "camera/zone"
    model: str  # whose scores
    since: datetime
    until: datetime


class Trials:
    """Reads the kept scores of a data folder for trials."""

    def __init__(
        self, folder: Path, log: EventLog, *, now: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._log, self._now = folder, log, now
        self._lock = threading.Lock()
        self._read: OrderedDict[tuple[About, tuple[str, ...]], ReadScores] = OrderedDict()

    def streams(self) -> list[str]:
        """Those of which there are scores."""
        return kept_streams(self._folder)

    def read(self, about: About) -> ReadScores:
        """The scores that are meant; those of the latest calls are kept."""
        files = score_files(self._folder, about.stream, since=about.since, until=about.until)
        state = tuple(file.name for file in files)
        if files and self._now() < about.until.timestamp() + _SETTLED_S:
            state += (str(_size(files[-1])),)  # it grows still
        with self._lock:
            if (about, state) in self._read:
                self._read.move_to_end((about, state))
                return self._read[about, state]
        tables, is_cut = read_tables(files, until=about.until, most=_MOST_WINDOWS)
        found = ReadScores(about, tables, self._log, is_cut=is_cut)
        with self._lock:
            self._read[about, state] = found
            while len(self._read) > 1 and sum(one.bytes for one in self._read.values()) > _MOST:
                self._read.popitem(last=False)
        return found


class ReadScores:
    """Scores in memory, for one trial after the other."""

    def __init__(
        self, about: About, tables: list[ScoreTable], log: EventLog, *, is_cut: bool
    ) -> None:
        self._about, self._log, self._is_cut = about, log, is_cut
        self._tables = [table for table in tables if table.model == about.model]
        self._others = tuple(sorted({table.model for table in tables} - {about.model}))
        self._columns: OrderedDict[tuple[Any, ...], np.ndarray] = OrderedDict()
        self._smoothers: dict[int, tuple[float, Smoother]] = {}  # by table, the latest
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Of memory, at most."""
        return sum(table.bytes + 2 * table.end_s.nbytes for table in self._tables) + _COLUMNS

    def trial(self, policy: EventsConfig) -> Trial:
        """Try a policy.

        Raises TrialError where it names a label that the model lacks, or makes too many events.
        """
        since, until = self._about.since, self._about.until
        events: list[LoggedEvent] = []
        for table in self._tables:
            if problem := missing_label(policy.named, table.model, table.labels):
                raise TrialError(problem)
            events += segment(table, policy, partial(self._smoothed, table, policy))
        events = [one for one in events if since <= one.utc(one.event.start_s) < until]
        begin = max(since, self._begin())
        query = EventQuery(
            camera=self._about.stream, since=begin if self._is_cut else since, until=until
        )
        rows = self._rows(query)
        if max(len(rows), len(events)) > _MOST_EVENTS:
            raise TrialError(
                f"more than {_MOST_EVENTS:,} events to compare; choose a shorter time, or "
                "thresholds that are crossed less often"
            )
        stretches = [one for table in self._tables for one in _stretches(table, since)]
        return Trial(
            events=tuple(sorted(events, key=lambda one: one.utc(one.event.start_s))),
            rows=tuple(rows),
            difference=compare(rows, Replayed(tuple(events), tuple(stretches))),
            windows=sum(len(table) for table in self._tables),
            since=begin,
            is_cut=self._is_cut,
            other_models=self._others,
        )

    def curve(self, policy: EventsConfig, label: str, *, points: int) -> list[Piece]:
        """The smoothed shares of a label; of many, the lowest and highest within a `points`-th of
        the time."""
        since, until = self._about.since.timestamp(), self._about.until.timestamp()
        width_s = (until - max(since, self._begin().timestamp())) / points
        pieces: list[Piece] = []
        for table in self._tables:
            if label in (*table.labels, UNKNOWN):
                utc = _utc(table)
                inside = np.flatnonzero((utc >= since) & (utc < until))
                values = self._smoothed(table, policy, label)[inside]
                pieces += _pieces(utc[inside], values, width_s, table.gap_s)
        return pieces

    def _begin(self) -> datetime:
        return _moment(float(_utc(self._tables[0])[0])) if self._tables else self._about.until

    def _rows(self, query: EventQuery) -> list[dict[str, Any]]:
        rows = itertools.islice(self._log.rows(query), _MOST_EVENTS + 1)
        return [row for row in rows if row["camera"] == query.camera]  # not those of its zones

    def _smoothed(self, table: ScoreTable, policy: EventsConfig, label: str) -> np.ndarray:
        unknown = policy.unknown if label == UNKNOWN else None
        key = (id(table), policy.smoothing, label, unknown)
        with self._lock:
            if key in self._columns:
                self._columns.move_to_end(key)
                return self._columns[key]
        # Perhaps by two at once: neither waits for the other.
        made = self._smoother(table, policy.smoothing)(table.column(label, unknown))
        with self._lock:
            self._columns[key] = made
            while sum(column.nbytes for column in self._columns.values()) > _COLUMNS:
                self._columns.popitem(last=False)
        return made

    def _smoother(self, table: ScoreTable, smoothing_s: float) -> Smoother:
        of_s, smoother = self._smoothers.get(id(table), (-1.0, None))
        if smoother is None or of_s != smoothing_s:
            smoother = Smoother(table, smoothing_s)
            self._smoothers[id(table)] = (smoothing_s, smoother)
        return smoother


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def _utc(table: ScoreTable) -> np.ndarray:
    """Of each window, seconds since 1970."""
    return table.zero + table.at_s


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _stretches(table: ScoreTable, since: datetime) -> list[Stretch]:
    cuts = table.fresh.copy()
    cuts[1:] |= np.abs(np.diff(table.zero)) > _CLOCK_SET_S
    begins = np.flatnonzero(cuts)
    ends = np.append(begins[1:], len(table)) - 1
    found = [
        Stretch(
            table.camera,
            _moment(float(table.zero[first] + table.start_s[first])),
            _moment(float(table.zero[last] + table.end_s[last])),
        )
        for first, last in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
    return [replace(one, begin=max(one.begin, since)) for one in found if one.end > since]


def _pieces(utc: np.ndarray, values: np.ndarray, width_s: float, gap_s: float) -> list[Piece]:
    if not len(utc):
        return []
    place = np.floor(utc / width_s)
    firsts = np.concatenate(([0], np.flatnonzero(np.diff(place)) + 1))
    at, low = utc[firsts], np.minimum.reduceat(values, firsts)
    high = np.maximum.reduceat(values, firsts)
    steps = np.diff(at)
    cuts = np.flatnonzero((steps > max(gap_s, 2 * width_s)) | (steps <= 0)) + 1
    return [
        Piece(np.round(a, 3).tolist(), np.round(lo, 4).tolist(), np.round(hi, 4).tolist())
        for a, lo, hi in zip(*(np.split(one, cuts) for one in (at, low, high)), strict=True)
    ]
