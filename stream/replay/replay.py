"""Replays stored scores: the events that another policy would have logged."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from stream.config.events import EventsConfig, missing_label
from stream.events.detector import Detector, deterministic_ids
from stream.messages import Event, LoggedEvent, Prediction
from stream.sinks.event_log.rows import moment
from stream.sinks.score_files import StoredRun, read_scores

_TOLERANCE = timedelta(seconds=0.05)  # smaller changes of a start or end count as unchanged
_CLOCK_STEP = timedelta(seconds=1)  # larger than the clock drift between two windows


@dataclass(frozen=True, slots=True)
class Interval:
    """A time range with gapless stored scores of a stream, in UTC."""

    camera: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Replayed:
    """The events of a policy on stored scores, and the time ranges of these scores."""

    events: tuple[LoggedEvent, ...]
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes that a policy would make to the event log."""

    added: tuple[LoggedEvent, ...]
    removed: tuple[Mapping[str, Any], ...]  # rows of the log
    moved: tuple[tuple[Mapping[str, Any], LoggedEvent], ...]  # logged, and replayed
    same: int


def replay(folder: Path, policy: EventsConfig, *, since: datetime | None = None) -> Replayed:
    """Detect events in the stored scores of a data folder with another policy.

    Raises ValueError if the policy names a label that the model of the scores lacks.
    """
    events: list[LoggedEvent] = []
    intervals: list[Interval] = []
    for run in read_scores(folder, since=since):
        if problem := missing_label(policy.named_labels, run.model, run.labels):
            raise ValueError(problem)
        for logged, interval in _replay_run(run, policy):
            events += logged
            intervals.append(interval)
    if since is not None:
        events = [logged for logged in events if logged.utc(logged.event.start_s) >= since]
        intervals = [
            replace(one, start=max(one.start, since)) for one in intervals if one.end > since
        ]
    return Replayed(tuple(events), tuple(intervals))


def compare(rows: Iterable[Mapping[str, Any]], replayed: Replayed) -> Difference:
    """The changes that a policy would make to these rows of the event log.

    Only closed events within an interval of gapless scores change. A replayed event that matches a
    row is the same event, perhaps at another time, and gets its id.
    """
    timelines: dict[tuple[str, str], list[_TimedEvent]] = {}
    for logged in replayed.events:
        key = (logged.event.camera, logged.event.label)
        timelines.setdefault(key, []).append(_timed_event(logged))
    for timeline in timelines.values():
        timeline.sort(key=lambda timed: timed.start)
    intervals: dict[str, list[Interval]] = {}
    for interval in replayed.intervals:
        intervals.setdefault(interval.camera, []).append(interval)
    removed, moved, same = [], [], 0
    for row in rows:
        start = moment(row["start"])
        end = moment(row["end"]) if row["end"] is not None else None
        timeline = timelines.get((row["camera"], row["label"]), [])
        match = _match(timeline, start, end)
        is_covered = end is not None and any(
            one.start - _TOLERANCE <= start and end <= one.end + _TOLERANCE
            for one in intervals.get(row["camera"], ())
        )
        if match is not None:
            timeline.remove(match)
        if not is_covered:  # its scores are incomplete
            continue
        if match is None:
            removed.append(row)
        elif max(abs(match.start - start), abs(match.end - (end or start))) <= _TOLERANCE:
            same += 1
        else:
            event = replace(match.logged.event, id=row["id"])
            moved.append((row, replace(match.logged, event=event)))
    added = sorted((one for left in timelines.values() for one in left), key=lambda one: one.start)
    return Difference(tuple(one.logged for one in added), tuple(removed), tuple(moved), same)


def without_reviewed(difference: Difference) -> tuple[Difference, list[Mapping[str, Any]]]:
    """The difference without reviewed rows, and these rows.

    A review applies to the event as it is logged, so no policy removes or moves that event.
    """
    reviewed = [row for row in difference.removed if row["verdict"]]
    reviewed += [row for row, _ in difference.moved if row["verdict"]]
    changes = replace(
        difference,
        removed=tuple(row for row in difference.removed if not row["verdict"]),
        moved=tuple(pair for pair in difference.moved if not pair[0]["verdict"]),
    )
    return changes, reviewed


@dataclass(frozen=True, slots=True)
class _TimedEvent:
    """A replayed event, in UTC."""

    logged: LoggedEvent
    start: datetime
    end: datetime


def _timed_event(logged: LoggedEvent) -> _TimedEvent:
    assert logged.event.end_s is not None  # a replay closes all events
    return _TimedEvent(logged, logged.utc(logged.event.start_s), logged.utc(logged.event.end_s))


def _match(
    timeline: list[_TimedEvent], start: datetime, end: datetime | None
) -> _TimedEvent | None:
    """The event of a timeline with the longest overlap with a time range, if any overlaps."""
    first = bisect_left(timeline, start, key=lambda timed: timed.end)
    best: _TimedEvent | None = None
    best_overlap = timedelta(0)
    for timed in timeline[first:]:
        if end is not None and timed.start > end:
            break
        shared = (timed.end if end is None else min(end, timed.end)) - max(start, timed.start)
        if best is None or shared > best_overlap:
            best, best_overlap = timed, shared
    return best


def _replay_run(
    run: StoredRun, policy: EventsConfig
) -> Iterator[tuple[list[LoggedEvent], Interval]]:
    """The events of each interval of a run."""
    new_id = deterministic_ids(f"{run.run} {run.camera}")
    detector = Detector(run.camera, policy, run.background, gap_s=run.gap_s, new_id=new_id)
    start_utc_of: dict[str, datetime] = {}
    closed: list[LoggedEvent] = []
    start: datetime | None = None  # of the interval
    last: Prediction | None = None
    zero_utc = datetime.min.replace(tzinfo=timezone.utc)  # of the camera's time 0, at `last`

    def collect(events: Sequence[Event], start_utc: datetime) -> None:
        for event in events:
            first_utc = start_utc_of.setdefault(event.id, start_utc)
            if event.end_s is not None:
                del start_utc_of[event.id]
                closed.append(LoggedEvent(event, "end", first_utc, run.model))

    for prediction, new_zero_utc in run.predictions():
        if prediction is None:
            collect(detector.flush("gap"), new_zero_utc)
            continue
        if last is not None and start is not None:
            is_gap = prediction.end_s - last.end_s > run.gap_s
            if is_gap:
                collect(detector.flush("gap"), zero_utc)
            if is_gap or abs(new_zero_utc - zero_utc) > _CLOCK_STEP:
                yield closed, Interval(run.camera, start, zero_utc + timedelta(seconds=last.end_s))
                closed, start = [], None
        collect(detector.update(prediction), new_zero_utc)
        start = start or new_zero_utc + timedelta(seconds=prediction.start_s)
        last, zero_utc = prediction, new_zero_utc
    if start is not None and last is not None:
        collect(detector.flush("stop"), zero_utc)
        yield closed, Interval(run.camera, start, zero_utc + timedelta(seconds=last.end_s))
