"""The API for a chart of events over time: little of each, and not more than can be drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from stream.regions.clip_source import camera_of
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from ui.web.api.events_api import AWAY, Time, answered

_MOST_OF_A_CAMERA, _MOST = 5000, 20_000
_TOO_FEW = 200  # of each camera, however many there are


class Mark(BaseModel):
    """An event in the chart."""

    id: str
    label: str  # as corrected, where it is
    start: str
    end: str | None
    peak: float
    verdict: str


class Lane(BaseModel):
    """The events of a camera, or of one of its zones, by their start."""

    camera: str
    events: list[Mark]


class Timeline(BaseModel):
    """What happened between two moments. Events that reach into it belong to it."""

    lanes: list[Lane]
    more: dict[str, int]  # by camera: how many older events are left out


def router(log: EventLog, cameras: Callable[[], Iterable[str]]) -> APIRouter:
    """/api/timeline. `cameras` of the run have a lane even while nothing happens."""
    api = APIRouter(prefix="/api")

    @api.get("/timeline", responses=AWAY)
    def timeline(since: Time, until: Time) -> Timeline:
        """Events of a span of time, by camera; of a camera with too many, the newest."""
        with answered():
            return _timeline(log, list(cameras()), since, until)

    return api


def _timeline(log: EventLog, known: list[str], since: datetime, until: datetime) -> Timeline:
    found: dict[str, list[Mark]] = {name: [] for name in known}
    more = {}
    # A query for a camera is also one for its zones.
    names = list(dict.fromkeys(map(camera_of, [*known, *log.cameras()])))
    most = max(_TOO_FEW, min(_MOST_OF_A_CAMERA, _MOST // max(1, len(names))))
    for name in names if since < until else ():
        query = EventQuery(camera=name, since=since, until=until, reaching=True)
        newest = log.page(query, most)
        if len(newest) == most and (left_out := log.count(query) - most) > 0:
            more[name] = left_out
        for row in reversed(newest):
            found.setdefault(row["camera"], []).append(_mark(row))
    lanes = [Lane(camera=name, events=events) for name, events in found.items()]
    return Timeline(lanes=lanes, more=more)


def _mark(row: dict[str, Any]) -> Mark:
    return Mark(
        id=row["id"],
        label=row["corrected"] or row["label"],
        start=row["start"],
        end=row["end"],
        peak=round(row["peak"], 3),
        verdict=row["verdict"],
    )
