"""The API about events: list, review, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from stream.messages import LONGEST_LABEL, LONGEST_NOTE, Review
from stream.sinks.event_log.database import EventLogError, OpenEventError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from stream.sinks.retention import delete_event

_EARLIEST = datetime(1000, 1, 1, tzinfo=timezone.utc)  # years are four digits in the log
_LATEST = datetime(9999, 12, 31, tzinfo=timezone.utc)
_TEXT = r"^[^\x00]*$"  # what every database takes

Text = Annotated[str, Query(max_length=300, pattern=_TEXT)]
EventId = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=100_000_000)]


def in_utc(moment: datetime) -> datetime:
    """UTC where it does not say; what is beyond the log's calendar is at its end."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        return min(max(moment.astimezone(timezone.utc), _EARLIEST), _LATEST)
    except OverflowError:
        return _EARLIEST if moment.year < _LATEST.year else _LATEST


def _no_number(text: object) -> object:
    """Pydantic would take one for seconds since 1970."""
    try:
        float(str(text))
    except ValueError:
        return text
    raise ValueError("give an ISO 8601 time, such as 2026-05-01T12:00:00Z")


Time = Annotated[
    datetime,
    BeforeValidator(_no_number),
    AfterValidator(in_utc),
    Query(description="UTC unless it says"),
]


class KeptEvent(BaseModel):
    """An event as it is in the log. Names that end in _s are seconds of the camera's own clock."""

    id: str
    camera: str
    label: str  # as the model said
    start: str  # UTC, as are the next two
    end: str | None  # null while it goes on
    detected_at: str
    start_s: float
    end_s: float | None
    detected_s: float
    peak: float
    peak_s: float
    mean: float
    model: str
    closed_by: str
    clip: str
    snapshot: str
    clip_note: str
    clip_start_s: float | None
    verdict: str  # confirmed, corrected, rejected; "" where nobody said
    corrected: str
    note: str
    reviewed_by: str
    reviewed_at: str


class EventPage(BaseModel):
    """Some of the events that were asked for, the newest first."""

    total: int
    events: list[KeptEvent]


class ReviewChange(BaseModel):
    """What a person says of an event; what is left out stays as it is."""

    verdict: Literal["", "confirmed", "corrected", "rejected"] | None = None
    corrected: Annotated[str, Field(max_length=LONGEST_LABEL, pattern=_TEXT)] | None = None
    note: Annotated[str, Field(max_length=LONGEST_NOTE, pattern=_TEXT)] | None = None


class Choices(BaseModel):
    """What events can be asked for by."""

    cameras: list[str]
    labels: list[str]


class Told(BaseModel):
    """Why it was not done, in one line."""

    detail: str


AWAY: dict[int | str, dict[str, Any]] = {
    503: {"model": Told, "description": "the log can't be read or written now"}
}
UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Told, "description": "there is no such event"}
}


def asked_for(
    camera: Text | None = None,
    label: Text | None = None,
    since: Time | None = None,
    until: Time | None = None,
    score: Annotated[float | None, Query(ge=0, le=1, description="peak at least")] = None,
    reviewed: bool | None = None,
    recorded: bool = False,
) -> EventQuery:
    """Which events, from the address."""
    return EventQuery(
        camera=camera,
        label=label,
        since=since,
        until=until,
        score=score,
        reviewed=reviewed,
        recorded=recorded,
    )


Asked = Annotated[EventQuery, Depends(asked_for)]


def router(
    log: EventLog,
    data: Path,
    cameras: Callable[[], Iterable[str]],
    labels: Callable[[], Iterable[str]],
    *,
    tell: Callable[[dict[str, Any]], None] = lambda news: None,
    now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> APIRouter:
    """/api/events of a data folder and its log, and /api/labels.

    `cameras` and `labels` are those of the run, to which what is in the log is added. `tell` hears
    of what people do, for those who look at the same events.
    """
    api = APIRouter(prefix="/api")

    @api.get("/events", responses=AWAY)
    def events(query: Asked, limit: Limit = 50, offset: Offset = 0) -> EventPage:
        """Events, the newest first."""
        with answered():
            found = log.page(query, limit, offset)
            total = log.count(query)
        return EventPage(total=total, events=[KeptEvent(**row) for row in found])

    @api.get("/events/choices", responses=AWAY)
    def choices() -> Choices:
        """Cameras and labels that there are, or were."""
        with answered():
            logged = log.cameras()
        known = list(cameras())
        return Choices(
            cameras=known + [one for one in logged if one not in known], labels=all_labels()
        )

    @api.get("/labels", responses=AWAY)
    def all_labels() -> list[str]:
        """Labels of the model, and those in the log."""
        with answered():
            return sorted({*labels(), *log.labels()}, key=str.casefold)

    @api.get("/events/{id}", responses=AWAY | UNKNOWN)
    def event(id: EventId) -> KeptEvent:
        """One event."""
        with answered():
            found = log.event(id)
        if found is None:
            raise HTTPException(404, f"event {id} is not in the log")
        return KeptEvent(**found)

    @api.patch(
        "/events/{id}",
        responses=AWAY
        | UNKNOWN
        | {
            400: {"model": Told, "description": "it is no JSON"},
            409: {"model": Told, "description": "verdict and label would contradict each other"},
        },
    )
    def review(id: EventId, change: ReviewChange, request: Request) -> KeptEvent:
        """Say what it was. It is kept beside what the model said."""
        by = request.state.who.name
        try:
            with answered():
                log.revise(id, lambda before: _changed(before, change, by), now_utc())
        except ValueError as error:
            raise HTTPException(409, str(error)) from None
        after = event(id)
        tell({"change": "review", "event": after.model_dump()})
        return after

    @api.delete(
        "/events/{id}",
        status_code=204,
        responses=AWAY | UNKNOWN | {409: {"model": Told, "description": "it still goes on"}},
    )
    def delete(id: EventId) -> Response:
        """Remove an event with its clip and its snapshot."""
        with answered():
            delete_event(log, data, id)
        tell({"change": "delete", "event": {"id": id}})
        return Response(status_code=204)

    return api


@contextmanager
def answered() -> Iterator[None]:
    """Turns what the log can't do into an answer."""
    try:
        yield
    except UnknownEventError as error:
        raise HTTPException(404, str(error)) from error
    except OpenEventError as error:
        raise HTTPException(409, str(error)) from error
    except EventLogError as error:
        raise HTTPException(503, str(error)) from error


def _changed(before: Review, change: ReviewChange, by: str) -> Review:
    verdict = before.verdict if change.verdict is None else change.verdict
    kept = before.corrected if verdict == "corrected" else ""
    return Review(
        verdict=verdict,
        corrected=(kept if change.corrected is None else change.corrected).strip(),
        note=before.note if change.note is None else change.note,
        by=by,
    )
