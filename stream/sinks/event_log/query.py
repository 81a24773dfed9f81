"""Event filters: one query type for all code that lists, counts, shows or exports events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from stream.sinks.event_log.database import events_table
from stream.sinks.event_log.rows import iso

_events = events_table.c


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Selects the events that meet all given conditions; without any, all events."""

    camera: str | None = None  # and its zones
    label: str | None = None  # the model's label, or a reviewer's correction
    since: datetime | None = None  # starts at or after this time
    until: datetime | None = None  # starts before this time
    overlapping: bool = False  # also events that start before `since` and end after it, or are open
    min_peak: float | None = None
    reviewed: bool | None = None  # with a verdict, or without one
    has_media: bool = False  # with a clip or a snapshot


ALL_EVENTS = EventQuery()


def conditions(query: EventQuery) -> Iterator[sa.ColumnElement[bool]]:
    """The query as SQL conditions on a row."""
    if query.camera is not None:
        zones = f"{query.camera}/"  # not LIKE: in SQLite it ignores case
        is_zone = sa.func.substr(_events.camera, 1, len(zones)) == zones
        yield (_events.camera == query.camera) | is_zone
    if query.label is not None:
        yield (_events.label == query.label) | (_events.corrected == query.label)
    if query.since is not None:
        since = iso(query.since)
        overlaps = (_events.end > since) | _events.end.is_(None)
        yield (_events.start >= since) | overlaps if query.overlapping else _events.start >= since
    if query.until is not None:
        yield _events.start < iso(query.until)
    if query.min_peak is not None:
        yield _events.peak >= query.min_peak
    if query.reviewed is not None:
        yield _events.verdict != "" if query.reviewed else _events.verdict == ""
    if query.has_media:
        yield (_events.clip != "") | (_events.snapshot != "")
