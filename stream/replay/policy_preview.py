"""Previews the events of another policy on stored scores, fast enough to follow a slider.

Thread-safe; owns no thread. Caches the scores for the next preview, in bounded memory.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stream.config.events import UNKNOWN, EventsConfig, missing_label
from stream.messages import LoggedEvent
from stream.replay.replay import Difference, Interval, Replayed, compare
from stream.replay.score_table import ScoreTable, read_tables, score_files, stored_streams
from stream.replay.vectorized import Smoother, detect_events
from stream.runtime.errors import UserError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery

_MAX_WINDOWS = 2_500_000  # a week at four windows a second
_MAX_CACHE_BYTES = 250_000_000
_MAX_COLUMN_BYTES = 50_000_000  # part of the cache for smoothed columns
_WRITE_DELAY_S = 5.0  # upper limit of the delay until scores are on disk
_MAX_EVENTS = 20_000  # in a comparison
_CLOCK_STEP_S = 1.0


class PreviewError(UserError, ValueError):
    """A preview that is impossible. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class CurveSegment:
    """A gapless part of the smoothed curve of a label: minimum and maximum at each time."""

    times: list[float]  # seconds since 1970
    low: list[float]
    high: list[float]


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """The events that a policy would have logged in a time range, and the logged ones."""

    events: tuple[LoggedEvent, ...]
    rows: tuple[Mapping[str, Any], ...]  # of the log
    difference: Difference
    windows: int
    since: datetime  # start of the scores
    is_truncated: bool  # older scores exceed the limit
    other_models: tuple[str, ...]  # models whose scores are excluded


@dataclass(frozen=True, slots=True)
class ScoreRange:
    """The scores for a preview: stream, model and time range."""

    stream: str  # a camera, or "camera/zone"
    model: str
    since: datetime
    until: datetime


class PolicyPreview:
    """Loads the stored scores of a data folder for previews, with a cache."""

    def __init__(
        self, folder: Path, log: EventLog, *, now: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._log, self._now = folder, log, now
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[ScoreRange, tuple[str, ...]], LoadedScores] = OrderedDict()

    def streams(self) -> list[str]:
        """The streams with stored scores."""
        return stored_streams(self._folder)

    def read(self, score_range: ScoreRange) -> LoadedScores:
        """Load the scores of a range; the latest ones are cached."""
        files = score_files(
            self._folder, score_range.stream, since=score_range.since, until=score_range.until
        )
        state = tuple(file.name for file in files)
        if files and self._now() < score_range.until.timestamp() + _WRITE_DELAY_S:
            state += (str(_size(files[-1])),)  # the last file still grows
        with self._lock:
            if (score_range, state) in self._cache:
                self._cache.move_to_end((score_range, state))
                return self._cache[score_range, state]
        tables, is_truncated = read_tables(files, until=score_range.until, max_windows=_MAX_WINDOWS)
        scores = LoadedScores(score_range, tables, self._log, is_truncated=is_truncated)
        with self._lock:
            self._cache[score_range, state] = scores
            while (
                len(self._cache) > 1
                and sum(one.bytes for one in self._cache.values()) > _MAX_CACHE_BYTES
            ):
                self._cache.popitem(last=False)
        return scores


class LoadedScores:
    """Scores in memory, for repeated previews."""

    def __init__(
        self,
        score_range: ScoreRange,
        tables: list[ScoreTable],
        log: EventLog,
        *,
        is_truncated: bool,
    ) -> None:
        self._score_range, self._log, self._is_truncated = score_range, log, is_truncated
        self._tables = [table for table in tables if table.model == score_range.model]
        self._other_models = tuple(sorted({table.model for table in tables} - {score_range.model}))
        self._columns: OrderedDict[tuple[Any, ...], np.ndarray] = OrderedDict()
        self._smoothers: dict[int, tuple[float, Smoother]] = {}  # by table, the latest
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Upper limit of the memory use."""
        return (
            sum(table.bytes + 2 * table.end_s.nbytes for table in self._tables) + _MAX_COLUMN_BYTES
        )

    def preview(self, policy: EventsConfig) -> Preview:
        """Preview a policy.

        Raises PreviewError for a label that the model lacks, or for too many events.
        """
        since, until = self._score_range.since, self._score_range.until
        events: list[LoggedEvent] = []
        for table in self._tables:
            if problem := missing_label(policy.named_labels, table.model, table.labels):
                raise PreviewError(problem)
            events += detect_events(table, policy, partial(self._smoothed, table, policy))
        events = [one for one in events if since <= one.utc(one.event.start_s) < until]
        start = max(since, self._start())
        rows = self._rows(start if self._is_truncated else since)
        if max(len(rows), len(events)) > _MAX_EVENTS:
            raise PreviewError(
                f"more than {_MAX_EVENTS:,} events to compare; choose a shorter period or "
                "stricter thresholds"
            )
        intervals = [one for table in self._tables for one in _intervals(table, since)]
        return Preview(
            events=tuple(sorted(events, key=lambda one: one.utc(one.event.start_s))),
            rows=tuple(rows),
            difference=compare(rows, Replayed(tuple(events), tuple(intervals))),
            windows=sum(len(table) for table in self._tables),
            since=start,
            is_truncated=self._is_truncated,
            other_models=self._other_models,
        )

    def curve(self, policy: EventsConfig, label: str, *, points: int) -> list[CurveSegment]:
        """The smoothed probabilities of a label, reduced to a minimum and a maximum per bin.

        The time range has `points` bins.
        """
        since, until = self._score_range.since.timestamp(), self._score_range.until.timestamp()
        width_s = (until - max(since, self._start().timestamp())) / points
        segments: list[CurveSegment] = []
        for table in self._tables:
            if label in (*table.labels, UNKNOWN):
                utc = _utc(table)
                inside = np.flatnonzero((utc >= since) & (utc < until))
                values = self._smoothed(table, policy, label)[inside]
                segments += _curve_segments(utc[inside], values, width_s, table.gap_s)
        return segments

    def _start(self) -> datetime:
        if not self._tables:
            return self._score_range.until
        return datetime.fromtimestamp(_utc(self._tables[0])[0], timezone.utc)

    def _rows(self, since: datetime) -> list[dict[str, Any]]:
        stream, until = self._score_range.stream, self._score_range.until
        rows = self._log.rows(EventQuery(camera=stream, since=since, until=until))
        rows = itertools.islice(rows, _MAX_EVENTS + 1)
        return [row for row in rows if row["camera"] == stream]  # without its zones

    def _smoothed(self, table: ScoreTable, policy: EventsConfig, label: str) -> np.ndarray:
        unknown = policy.unknown_below if label == UNKNOWN else None
        key = (id(table), policy.smoothing, label, unknown)
        with self._lock:
            if key in self._columns:
                self._columns.move_to_end(key)
                return self._columns[key]
        # Two threads may compute the same column; neither waits for the other.
        column = self._smoother(table, policy.smoothing)(table.column(label, unknown))
        with self._lock:
            self._columns[key] = column
            while sum(one.nbytes for one in self._columns.values()) > _MAX_COLUMN_BYTES:
                self._columns.popitem(last=False)
        return column

    def _smoother(self, table: ScoreTable, smoothing_s: float) -> Smoother:
        of_s, smoother = self._smoothers.get(id(table), (-1.0, None))
        if smoother is None or of_s != smoothing_s:
            smoother = Smoother(table, smoothing_s)
            self._smoothers[id(table)] = (smoothing_s, smoother)
        return smoother


def _utc(table: ScoreTable) -> np.ndarray:
    """The UTC of each window, in seconds since 1970."""
    return table.zero_utc + table.at_s


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _intervals(table: ScoreTable, since: datetime) -> list[Interval]:
    cuts = table.restarts.copy()
    cuts[1:] |= np.abs(np.diff(table.zero_utc)) > _CLOCK_STEP_S
    starts = np.flatnonzero(cuts)
    ends = np.append(starts[1:], len(table)) - 1
    intervals = [
        Interval(
            table.camera,
            datetime.fromtimestamp(table.zero_utc[first] + table.start_s[first], timezone.utc),
            datetime.fromtimestamp(table.zero_utc[last] + table.end_s[last], timezone.utc),
        )
        for first, last in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return [replace(one, start=max(one.start, since)) for one in intervals if one.end > since]


def _curve_segments(
    utc: np.ndarray, values: np.ndarray, width_s: float, gap_s: float
) -> list[CurveSegment]:
    if not len(utc):
        return []
    bin_index = np.floor(utc / width_s)
    firsts = np.concatenate(([0], np.flatnonzero(np.diff(bin_index)) + 1))
    at, low = utc[firsts], np.minimum.reduceat(values, firsts)
    high = np.maximum.reduceat(values, firsts)
    steps = np.diff(at)
    cuts = np.flatnonzero((steps > max(gap_s, 2 * width_s)) | (steps <= 0)) + 1
    return [
        CurveSegment(np.round(a, 3).tolist(), np.round(lo, 4).tolist(), np.round(hi, 4).tolist())
        for a, lo, hi in zip(*(np.split(one, cuts) for one in (at, low, high)), strict=True)
    ]
