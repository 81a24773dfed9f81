"""Kept scores segmented anew: what another policy would have logged."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from stream.config.events import EventsConfig, missing_label
from stream.events.detector import Detector, ids_named_after
from stream.messages import Event, LoggedEvent, Prediction
from stream.sinks.event_log.rows import moment
from stream.sinks.score_log import KeptRun, read_scores

_SAME = _SLACK = timedelta(seconds=0.05)  # what differs by less has not moved
_CLOCK_SET = timedelta(seconds=1)  # a machine's clock drifts by less between two windows


@dataclass(frozen=True, slots=True)
class Stretch:
    """When scores of a stream were kept without a break, in UTC."""

    camera: str
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Replayed:
    """The events of kept scores under some policy, and what they are events of."""

    events: tuple[LoggedEvent, ...]
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a policy would change in the log."""

    added: tuple[LoggedEvent, ...]
    lost: tuple[Mapping[str, Any], ...]  # rows of the log
    moved: tuple[tuple[Mapping[str, Any], LoggedEvent], ...]  # each as it is, and as it would be
    same: int


def replay(folder: Path, policy: EventsConfig, *, since: datetime | None = None) -> Replayed:
    """Segment what runs into a data folder have kept, with another policy.

    Raises ValueError where the policy names a label that the kept model does not have.
    """
    events: list[LoggedEvent] = []
    stretches: list[Stretch] = []
    for kept in read_scores(folder, since=since):
        if problem := missing_label(policy.named, kept.model, kept.labels):
            raise ValueError(problem)
        for logged, stretch in _segment(kept, policy):
            events += logged
            stretches.append(stretch)
    if since is not None:
        events = [logged for logged in events if logged.utc(logged.event.start_s) >= since]
        stretches = [
            replace(one, begin=max(one.begin, since)) for one in stretches if one.end > since
        ]
    return Replayed(tuple(events), tuple(stretches))


def compare(rows: Iterable[Mapping[str, Any]], replayed: Replayed) -> Difference:
    """What a policy would change in the log whose rows these are.

    A row is only touched if all of it lies where scores were kept without a break, and it is not
    open still. An event that is matched with a row gets its id: it is the same one, perhaps at
    another time.
    """
    timelines: dict[tuple[str, str], list[_Placed]] = {}
    for logged in replayed.events:
        key = (logged.event.camera, logged.event.label)
        timelines.setdefault(key, []).append(_placed(logged))
    for timeline in timelines.values():
        timeline.sort(key=lambda placed: placed.begin)
    stretches: dict[str, list[Stretch]] = {}
    for stretch in replayed.stretches:
        stretches.setdefault(stretch.camera, []).append(stretch)
    lost, moved, same = [], [], 0
    for row in rows:
        begin = moment(row["start"])
        end = moment(row["end"]) if row["end"] is not None else None
        timeline = timelines.get((row["camera"], row["label"]), [])
        match = _match(timeline, begin, end)
        within = end is not None and any(
            one.begin - _SLACK <= begin and end <= one.end + _SLACK
            for one in stretches.get(row["camera"], ())
        )
        if match is not None:
            timeline.remove(match)
        if not within:  # nobody knows all of it
            continue
        if match is None:
            lost.append(row)
        elif max(abs(match.begin - begin), abs(match.end - (end or begin))) <= _SAME:
            same += 1
        else:
            event = replace(match.logged.event, id=row["id"])
            moved.append((row, replace(match.logged, event=event)))
    added = sorted((one for left in timelines.values() for one in left), key=lambda one: one.begin)
    return Difference(tuple(one.logged for one in added), tuple(lost), tuple(moved), same)


def without_reviewed(difference: Difference) -> tuple[Difference, list[Mapping[str, Any]]]:
    """A difference without the rows that a person reviewed, and these.

    What a person said of an event holds for it as it is: no policy may take it away or move it.
    """
    kept = [row for row in difference.lost if row["verdict"]]
    kept += [row for row, _ in difference.moved if row["verdict"]]
    changes = replace(
        difference,
        lost=tuple(row for row in difference.lost if not row["verdict"]),
        moved=tuple(pair for pair in difference.moved if not pair[0]["verdict"]),
    )
    return changes, kept


@dataclass(frozen=True, slots=True)
class _Placed:
    """An event of a replay, in UTC."""

    logged: LoggedEvent
    begin: datetime
    end: datetime


def _placed(logged: LoggedEvent) -> _Placed:
    assert logged.event.end_s is not None  # a replay closes all of them
    return _Placed(logged, logged.utc(logged.event.start_s), logged.utc(logged.event.end_s))


def _match(timeline: list[_Placed], begin: datetime, end: datetime | None) -> _Placed | None:
    """The event of a timeline that has most in common with a stretch of time, if any has."""
    first = bisect_left(timeline, begin, key=lambda placed: placed.end)
    best: _Placed | None = None
    longest = timedelta(0)
    for placed in timeline[first:]:
        if end is not None and placed.begin > end:
            break
        shared = (placed.end if end is None else min(end, placed.end)) - max(begin, placed.begin)
        if best is None or shared > longest:
            best, longest = placed, shared
    return best


def _segment(kept: KeptRun, policy: EventsConfig) -> Iterator[tuple[list[LoggedEvent], Stretch]]:
    """The events of each stretch of a run."""

    new_id = ids_named_after(f"{kept.run} {kept.camera}")
    detector = Detector(kept.camera, policy, kept.background, gap_s=kept.gap_s, new_id=new_id)
    began: dict[str, datetime] = {}
    closed: list[LoggedEvent] = []
    begin: datetime | None = None  # of the stretch
    last: Prediction | None = None
    zero = datetime.min.replace(tzinfo=timezone.utc)  # UTC of the camera's time 0, at the last one

    def take(events: Sequence[Event], began_utc: datetime) -> None:
        for event in events:
            of_event = began.setdefault(event.id, began_utc)
            if event.end_s is not None:
                del began[event.id]
                closed.append(LoggedEvent(event, "end", of_event, kept.model))

    for prediction, now_zero in kept.predictions():
        if prediction is None:
            take(detector.flush("gap"), now_zero)
            continue
        if last is not None and begin is not None:
            is_gap = prediction.end_s - last.end_s > kept.gap_s
            if is_gap:
                take(detector.flush("gap"), zero)
            if is_gap or abs(now_zero - zero) > _CLOCK_SET:
                yield closed, Stretch(kept.camera, begin, zero + timedelta(seconds=last.end_s))
                closed, begin = [], None
        take(detector.update(prediction), now_zero)
        begin = begin or now_zero + timedelta(seconds=prediction.start_s)
        last, zero = prediction, now_zero
    if begin is not None and last is not None:
        take(detector.flush("stop"), zero)
        yield closed, Stretch(kept.camera, begin, zero + timedelta(seconds=last.end_s))
