"""The API of events: list, review, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from stream.messages import MAX_LABEL_LENGTH, MAX_NOTE_LENGTH, Review
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from stream.sinks.retention import delete_event
from ui.event_filters import declare_filters
from ui.web.api.errors import UNAVAILABLE, error_responses

_MIN_TIME = datetime(1000, 1, 1, tzinfo=timezone.utc)  # years are four digits in the log
_MAX_TIME = datetime(9999, 12, 31, tzinfo=timezone.utc)
_TEXT = r"^[^\x00]*$"  # not every database can store NUL

Text = Annotated[str, Query(max_length=300, pattern=_TEXT)]
EventId = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=100_000_000)]


def in_utc(time: datetime) -> datetime:
    """Convert to UTC, which is also the default zone; clamp to the years that the log can store."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    try:
        return min(max(time.astimezone(timezone.utc), _MIN_TIME), _MAX_TIME)
    except OverflowError:
        return _MIN_TIME if time.year < _MAX_TIME.year else _MAX_TIME


def not_a_number(text: object) -> object:
    """Reject numbers, which pydantic would read as seconds since 1970."""
    try:
        float(str(text))
    except ValueError:
        return text
    raise ValueError("give an ISO 8601 time, such as 2026-05-01T12:00:00Z")


Time = Annotated[
    datetime,
    BeforeValidator(not_a_number),
    AfterValidator(in_utc),
    Query(description="ISO 8601; UTC if it has no time zone"),
]


class StoredEvent(BaseModel):
    """An event of the log. Fields that end in _s are seconds of the camera's own clock."""

    id: str
    camera: str
    label: str  # as predicted
    start: str  # UTC, as are the next two
    end: str | None  # null while the event is open
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
    verdict: str  # confirmed, corrected, rejected; "" if not reviewed
    corrected: str
    note: str
    reviewed_by: str
    reviewed_at: str


class EventPage(BaseModel):
    """A page of the matching events, newest first."""

    total: int
    events: list[StoredEvent]


class ReviewChange(BaseModel):
    """A review of an event; omitted fields stay unchanged."""

    verdict: Literal["", "confirmed", "corrected", "rejected"] | None = None
    corrected: Annotated[str, Field(max_length=MAX_LABEL_LENGTH, pattern=_TEXT)] | None = None
    note: Annotated[str, Field(max_length=MAX_NOTE_LENGTH, pattern=_TEXT)] | None = None


class FilterChoices(BaseModel):
    """Values to filter events by."""

    cameras: list[str]
    labels: list[str]


_NO_SUCH_EVENT = UNAVAILABLE | error_responses({404: "there is no such event"})
_FILTER_TYPES: dict[type, Any] = {
    str: Text,
    datetime: Time,
    float: Annotated[float, Query(ge=0, le=1)],
    bool: bool,
}


@declare_filters(lambda one: _FILTER_TYPES[one.type] | None)
def _event_query(has_media: bool = False, **filters: Any) -> EventQuery:
    """The filters in a request's query string."""
    return EventQuery(has_media=has_media, **filters)


EventFilters = Annotated[EventQuery, Depends(_event_query)]


def router(
    log: EventLog,
    data: Path,
    cameras: Callable[[], Iterable[str]],
    labels: Callable[[], Iterable[str]],
    *,
    publish: Callable[[dict[str, Any]], None],
) -> APIRouter:
    """/api/events of a data folder and its log, and /api/labels.

    `cameras` and `labels` are those of the run; those of the log are added. `publish` receives each
    review and deletion, for other clients that show the same events.
    """
    api = APIRouter(prefix="/api")

    @api.get("/events", responses=UNAVAILABLE)
    def events(query: EventFilters, limit: Limit = 50, offset: Offset = 0) -> EventPage:
        """Events, newest first."""
        rows = log.page(query, limit, offset)
        return EventPage(total=log.count(query), events=[StoredEvent(**row) for row in rows])

    @api.get("/events/choices", responses=UNAVAILABLE)
    def choices() -> FilterChoices:
        """Cameras and labels of the run and of the log."""
        names = dict.fromkeys((*cameras(), *log.cameras()))
        return FilterChoices(cameras=list(names), labels=all_labels())

    @api.get("/labels", responses=UNAVAILABLE)
    def all_labels() -> list[str]:
        """Labels of the model and of the log."""
        return sorted({*labels(), *log.labels()}, key=str.casefold)

    @api.get("/events/{id}", responses=_NO_SUCH_EVENT)
    def event(id: EventId) -> StoredEvent:
        """One event."""
        row = log.event(id)
        if row is None:
            raise HTTPException(404, f"event {id} is not in the log")
        return StoredEvent(**row)

    @api.patch(
        "/events/{id}",
        responses=_NO_SUCH_EVENT
        | error_responses(
            {400: "the body is not JSON", 409: "verdict and label would contradict each other"}
        ),
    )
    def review(id: EventId, change: ReviewChange, request: Request) -> StoredEvent:
        """Review an event. The predicted label stays stored beside the corrected one."""
        by = request.state.identity.name
        try:
            now_utc = datetime.now(timezone.utc)
            log.update_review(id, lambda before: _changed(before, change, by), now_utc)
        except ValueError as error:
            raise HTTPException(409, str(error)) from None
        after = event(id)
        publish({"change": "review", "event": after.model_dump()})
        return after

    @api.delete(
        "/events/{id}",
        status_code=204,
        responses=_NO_SUCH_EVENT | error_responses({409: "the event is still open"}),
    )
    def delete(id: EventId) -> Response:
        """Delete an event with its clip and its snapshot."""
        delete_event(log, data, id)
        publish({"change": "delete", "event": {"id": id}})
        return Response(status_code=204)

    return api


def _changed(before: Review, change: ReviewChange, by: str) -> Review:
    verdict = before.verdict if change.verdict is None else change.verdict
    corrected = before.corrected if verdict == "corrected" else ""
    return Review(
        verdict=verdict,
        corrected=(corrected if change.corrected is None else change.corrected).strip(),
        note=before.note if change.note is None else change.note,
        by=by,
    )
