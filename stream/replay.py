"""Kept scores segmented anew: what another policy would have logged."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from stream.event_rows import as_row
from stream.events import Detector
from stream.keeping_config import EventsConfig
from stream.messages import Event, LoggedEvent
from stream.score_log import KeptRun, read_scores

_SPACE = uuid.UUID("6f6c5a0e-5a34-4c4c-8a55-0d5b5c3f0c11")  # of ids that are made of what they name
_SAME_S = 0.05  # starts and ends that differ by less have not moved


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
    """Segment what runs into a data folder have kept, with another policy."""
    events: list[LoggedEvent] = []
    stretches: list[Stretch] = []
    for kept in read_scores(folder, since=since):
        of_run, stretch = _segment(kept, policy)
        events += of_run
        stretches += [stretch] if stretch is not None else []
    if since is not None:
        events = [logged for logged in events if logged.utc(logged.event.start_s) >= since]
        stretches = [
            replace(one, begin=max(one.begin, since)) for one in stretches if one.end > since
        ]
    return Replayed(tuple(events), tuple(stretches))


def compare(rows: Iterable[Mapping[str, Any]], replayed: Replayed) -> Difference:
    """What a policy would change in the log whose rows these are.

    Only events that began while scores were kept are compared, and none that is open still. An
    event that is matched with a row gets its id: it is the same one, perhaps at another time.
    """
    waiting: dict[tuple[str, str], list[LoggedEvent]] = {}
    for logged in replayed.events:
        waiting.setdefault((logged.event.camera, logged.event.label), []).append(logged)
    lost, moved, same = [], [], 0
    for row in rows:
        if not any(_is_within(row, stretch) for stretch in replayed.stretches):
            continue
        candidates = waiting.get((row["camera"], row["label"]), [])
        match = max(candidates, key=lambda logged: _overlap_s(row, logged), default=None)
        if match is None or _overlap_s(row, match) < 0:
            if row["end"] is not None:
                lost.append(row)
            continue
        candidates.remove(match)
        if row["end"] is None or not _has_moved(row, match):
            same += 1
        else:
            moved.append((row, replace(match, event=replace(match.event, id=row["id"]))))
    added = sorted(
        (logged for left in waiting.values() for logged in left),
        key=lambda logged: logged.utc(logged.event.start_s),
    )
    return Difference(tuple(added), tuple(lost), tuple(moved), same)


def _segment(kept: KeptRun, policy: EventsConfig) -> tuple[list[LoggedEvent], Stretch | None]:
    def new_id(label: str, start_s: float) -> str:
        return uuid.uuid5(_SPACE, f"{kept.run} {kept.camera} {label} {start_s:.3f}").hex

    detector = Detector(kept.camera, policy, kept.background, gap_s=kept.gap_s, new_id=new_id)
    began: dict[str, datetime] = {}
    closed: list[LoggedEvent] = []
    first: datetime | None = None
    latest = began_utc = datetime.min.replace(tzinfo=timezone.utc)

    def take(events: Sequence[Event]) -> None:
        for event in events:
            of_event = began.setdefault(event.id, began_utc)
            if event.end_s is not None:
                closed.append(LoggedEvent(event, "end", of_event, kept.model))

    for prediction, began_utc in kept.predictions():
        take(detector.update(prediction))
        first = first or began_utc + timedelta(seconds=prediction.start_s)
        latest = began_utc + timedelta(seconds=prediction.end_s)
    take(detector.flush("stop"))
    return closed, None if first is None else Stretch(kept.camera, first, latest)


def _is_within(row: Mapping[str, Any], stretch: Stretch) -> bool:
    return row["camera"] == stretch.camera and stretch.begin <= _utc(row["start"]) <= stretch.end


def _overlap_s(row: Mapping[str, Any], logged: LoggedEvent) -> float:
    """Seconds that both have in common; below 0 for those between them."""
    assert logged.event.end_s is not None
    begin, end = logged.utc(logged.event.start_s), logged.utc(logged.event.end_s)
    row_end = end if row["end"] is None else _utc(row["end"])
    return (min(row_end, end) - max(_utc(row["start"]), begin)).total_seconds()


def _has_moved(row: Mapping[str, Any], logged: LoggedEvent) -> bool:
    new = as_row(logged)
    return any(
        abs((_utc(row[key]) - _utc(new[key])).total_seconds()) > _SAME_S for key in ("start", "end")
    )


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 knows no Z
