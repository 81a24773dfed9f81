"""The API of the timeline: a few fields of each event, and no more events than can be drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from stream.regions.clip_source import camera_of
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from ui.web.api.errors import UNAVAILABLE
from ui.web.api.events_api import Time

_MAX_EVENTS_PER_CAMERA, _MAX_EVENTS = 5000, 20_000
_MIN_EVENTS_PER_CAMERA = 200  # however many cameras there are


class TimelineEvent(BaseModel):
    """An event of the chart."""

    id: str
    label: str  # the corrected one, if any
    start: str
    end: str | None
    peak: float
    verdict: str


class Lane(BaseModel):
    """The events of a camera or of a zone, sorted by start."""

    camera: str
    events: list[TimelineEvent]


class Timeline(BaseModel):
    """All events that overlap a time span."""

    lanes: list[Lane]
    omitted: dict[str, int]  # by camera: number of older events that are not included


def router(log: EventLog, cameras: Callable[[], Iterable[str]]) -> APIRouter:
    """/api/timeline. `cameras` of the run have a lane even without events."""
    api = APIRouter(prefix="/api")

    @api.get("/timeline", responses=UNAVAILABLE)
    def timeline(since: Time, until: Time) -> Timeline:
        """Events of a time span by camera; the newest ones of a camera with too many."""
        return _timeline(log, list(cameras()), since, until)

    return api


def _timeline(log: EventLog, known: list[str], since: datetime, until: datetime) -> Timeline:
    lanes: dict[str, list[TimelineEvent]] = {name: [] for name in known}
    omitted = {}
    # A query for a camera includes its zones.
    names = list(dict.fromkeys(map(camera_of, [*known, *log.cameras()])))
    limit = max(
        _MIN_EVENTS_PER_CAMERA, min(_MAX_EVENTS_PER_CAMERA, _MAX_EVENTS // max(1, len(names)))
    )
    for name in names if since < until else ():
        query = EventQuery(camera=name, since=since, until=until, overlapping=True)
        newest = log.page(query, limit)
        if len(newest) == limit and (count := log.count(query) - limit) > 0:
            omitted[name] = count
        for row in reversed(newest):
            label, peak = row["corrected"] or row["label"], round(row["peak"], 3)
            event = TimelineEvent(**{**row, "label": label, "peak": peak})
            lanes.setdefault(row["camera"], []).append(event)
    return Timeline(
        lanes=[Lane(camera=name, events=events) for name, events in lanes.items()],
        omitted=omitted,
    )
