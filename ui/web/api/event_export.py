"""Events as a download, in the export formats of the log."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from stream.formats.base import FORMATS, EventFormat, ExportError, Options, export
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from ui.web.api.events_api import UNAVAILABLE, ErrorBody, EventFilters, log_errors

_MAX_CONCURRENT = 2  # each may read the whole log
_CHUNK_BYTES = 2**16


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"must be one of {', '.join(sorted(FORMATS))}")
    return name


def _list_formats(schema: dict[str, Any]) -> None:
    schema["enum"] = sorted(FORMATS)


FormatName = Annotated[str, AfterValidator(_known_format), Field(json_schema_extra=_list_formats)]
TimeBase = Annotated[
    Literal["wall", "media"],
    Query(
        description="for formats with seconds only: `wall` counts from midnight (UTC) of the "
        "first event's day, `media` from the start of the camera's run"
    ),
]


class FormatChoice(BaseModel):
    """A format in a menu."""

    name: str
    title: str


class _Download(StreamingResponse):
    """Streams a temporary file; closing it deletes it.

    `on_close` is called when the file was sent or the client has disconnected.
    """

    def __init__(
        self, file: IO[bytes], event_format: EventFormat, on_close: Callable[[], None]
    ) -> None:
        self._file, self._on_close = file, on_close
        name = f"actionwatch-events{event_format.suffix}"
        super().__init__(
            iter(lambda: file.read(_CHUNK_BYTES), b""),
            media_type=event_format.media_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            self._on_close()


def router(log: EventLog) -> APIRouter:
    """/api/events/export and its formats. Must be included before /api/events/ID."""
    api = APIRouter(prefix="/api")
    slots = threading.BoundedSemaphore(_MAX_CONCURRENT)

    @api.get("/events/formats")
    def formats() -> list[FormatChoice]:
        """The formats of an export; first those that contain every column."""
        names = sorted(FORMATS, key=lambda name: (FORMATS[name].is_relative, name))
        return [FormatChoice(name=name, title=FORMATS[name].title) for name in names]

    @api.get(
        "/events/export",
        response_class=Response,
        responses=UNAVAILABLE
        | {
            200: {
                "description": "the file",
                "content": {one.media_type: {} for one in FORMATS.values()},
            },
            501: {"model": ErrorBody, "description": "a package for this format is not installed"},
        },
    )
    def events_as_file(
        query: EventFilters, format: FormatName = "jsonl", time_base: TimeBase = "wall"
    ) -> Response:
        """All matching events as a file, oldest first."""
        if not slots.acquire(blocking=False):
            raise HTTPException(
                503, "too many exports in progress; try again", {"Retry-After": "2"}
            )
        try:
            file = _export(log, query, format, Options(time_base=time_base, spreadsheet=True))
            return _Download(file, FORMATS[format], slots.release)
        except BaseException:
            slots.release()
            raise

    return api


def _export(log: EventLog, query: EventQuery, format: str, options: Options) -> IO[bytes]:
    """An unnamed temporary file, positioned at its start."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - outlives this function
    try:
        with log_errors():
            export(log.rows(query), file, format, options)
        file.seek(0)
    except BaseException as error:
        file.close()
        if isinstance(error, ExportError):
            raise HTTPException(501, str(error)) from error
        raise
    return file
