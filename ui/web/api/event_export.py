"""Events as a download, in the export formats of the log."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from stream.formats.base import BINARY_FORMATS, ExportError, Options, export
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from ui.web.api.events_api import UNAVAILABLE, ErrorBody, EventFilters, log_errors

_MAX_CONCURRENT = 2  # each may read the whole log
_CHUNK_BYTES = 2**16
_SUFFIXES = {"webvtt": "vtt", "activitynet": "json", "elan": "eaf"}
_MEDIA_TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "webvtt": "text/vtt; charset=utf-8",
    "activitynet": "application/json",
    "elan": "application/xml",
    "parquet": "application/vnd.apache.parquet",
}

Format = Literal["jsonl", "csv", "webvtt", "activitynet", "elan", "parquet"]
TimeBase = Annotated[
    Literal["wall", "media"],
    Query(
        description="for webvtt, activitynet and elan: `wall` counts from midnight (UTC) of the "
        "first event's day, `media` from the start of the camera's run"
    ),
]


class _Download(StreamingResponse):
    """Streams a temporary file; closing it deletes it.

    `on_close` is called when the file was sent or the client has disconnected.
    """

    def __init__(self, file: IO[bytes], format: str, on_close: Callable[[], None]) -> None:
        self._file, self._on_close = file, on_close
        name = f"actionwatch-events.{_SUFFIXES.get(format, format)}"
        super().__init__(
            iter(lambda: file.read(_CHUNK_BYTES), b""),
            media_type=_MEDIA_TYPES[format],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            self._on_close()


def router(log: EventLog) -> APIRouter:
    """/api/events/export. Must be included before /api/events/ID."""
    api = APIRouter(prefix="/api")
    slots = threading.BoundedSemaphore(_MAX_CONCURRENT)

    @api.get(
        "/events/export",
        response_class=Response,
        responses=UNAVAILABLE
        | {
            200: {
                "description": "the file",
                "content": {kind: {} for kind in _MEDIA_TYPES.values()},
            },
            501: {"model": ErrorBody, "description": "a package for this format is not installed"},
        },
    )
    def events_as_file(
        query: EventFilters, format: Format = "jsonl", time_base: TimeBase = "wall"
    ) -> Response:
        """All matching events as a file, oldest first."""
        if not slots.acquire(blocking=False):
            raise HTTPException(
                503, "too many exports in progress; try again", {"Retry-After": "2"}
            )
        try:
            file = _export(log, query, format, Options(time_base=time_base, spreadsheet=True))
            return _Download(file, format, slots.release)
        except BaseException:
            slots.release()
            raise

    return api


def _export(log: EventLog, query: EventQuery, format: str, options: Options) -> IO[bytes]:
    """An unnamed temporary file, positioned at its start."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - outlives this function
    try:
        with log_errors():
            if format in BINARY_FORMATS:
                export(log.rows(query), file, format, options)
            else:
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                export(log.rows(query), text, format, options)
                text.detach()  # flushes, and leaves the file open
        file.seek(0)
    except BaseException as error:
        file.close()
        if isinstance(error, ExportError):
            raise HTTPException(501, str(error)) from error
        raise
    return file
