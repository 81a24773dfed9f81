"""Which events of the log are meant: one question for all who list, count, show or export them."""

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
    """Events that fulfil all of what is given; without anything, all events."""

    camera: str | None = None  # and its zones
    label: str | None = None  # as the model said, or as a person corrected it
    since: datetime | None = None  # the event starts then or later
    until: datetime | None = None  # it starts before that
    reaching: bool = False  # also those that start before `since` and end after it, or are open
    score: float | None = None  # the peak is at least that
    reviewed: bool | None = None  # a person gave a verdict, or none did
    recorded: bool = False  # there is a clip or a snapshot


EVERY = EventQuery()


def conditions(query: EventQuery) -> Iterator[sa.ColumnElement[bool]]:
    """What a row has to fulfil."""
    if query.camera is not None:
        zones = f"{query.camera}/"  # not LIKE, to which in SQLite Door is door
        is_zone = sa.func.substr(_events.camera, 1, len(zones)) == zones
        yield (_events.camera == query.camera) | is_zone
    if query.label is not None:
        yield (_events.label == query.label) | (_events.corrected == query.label)
    if query.since is not None:
        since = iso(query.since)
        reaches = (_events.end > since) | _events.end.is_(None)
        yield (_events.start >= since) | reaches if query.reaching else _events.start >= since
    if query.until is not None:
        yield _events.start < iso(query.until)
    if query.score is not None:
        yield _events.peak >= query.score
    if query.reviewed is not None:
        yield _events.verdict != "" if query.reviewed else _events.verdict == ""
    if query.recorded:
        yield (_events.clip != "") | (_events.snapshot != "")
