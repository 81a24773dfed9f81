"""Events as a download, in the formats that the log has."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from stream.formats.base import BINARY, ExportError, Options, export
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from ui.web.api.events_api import AWAY, Asked, Told, answered

_AT_ONCE = 2  # each may be all of the log
_BLOCK = 2**16  # bytes
_SUFFIXES = {"webvtt": "vtt", "activitynet": "json", "elan": "eaf"}
_TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "webvtt": "text/vtt; charset=utf-8",
    "activitynet": "application/json",
    "elan": "application/xml",
    "parquet": "application/vnd.apache.parquet",
}

Format = Literal["jsonl", "csv", "webvtt", "activitynet", "elan", "parquet"]
Clock = Annotated[
    Literal["wall", "media"],
    Query(
        description="of webvtt, activitynet and elan: wall counts from midnight (UTC) of the first "
        "event's day, media from the beginning of the camera's run"
    ),
]


class _Download(StreamingResponse):
    """A file that is closed, and so gone, when it was sent or nobody wants it any more.

    Then `over` is called.
    """

    def __init__(self, file: IO[bytes], format: str, over: Callable[[], None]) -> None:
        self._file, self._over = file, over
        name = f"actionwatch-events.{_SUFFIXES.get(format, format)}"
        super().__init__(
            iter(lambda: file.read(_BLOCK), b""),
            media_type=_TYPES[format],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            self._over()


def router(log: EventLog) -> APIRouter:
    """/api/events/export. Goes before /api/events/ID."""
    api = APIRouter(prefix="/api")
    free = threading.BoundedSemaphore(_AT_ONCE)

    @api.get(
        "/events/export",
        response_class=Response,
        responses=AWAY
        | {
            200: {"description": "the file", "content": {kind: {} for kind in _TYPES.values()}},
            501: {"model": Told, "description": "a package is missing that this format needs"},
        },
    )
    def events_as_file(query: Asked, format: Format = "jsonl", clock: Clock = "wall") -> Response:
        """All events that are asked for, oldest first, as a file."""
        if not free.acquire(blocking=False):
            raise HTTPException(503, "others are exporting; try again", {"Retry-After": "2"})
        try:
            file = _written(log, query, format, Options(clock=clock, spreadsheet=True))
            return _Download(file, format, free.release)
        except BaseException:
            free.release()
            raise

    return api


def _written(log: EventLog, query: EventQuery, format: str, options: Options) -> IO[bytes]:
    """A file without a name, at its beginning."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - outlives this function
    try:
        with answered():
            if format in BINARY:
                export(log.rows(query), file, format, options)
            else:
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                export(log.rows(query), text, format, options)
                text.detach()  # writes what is left, and leaves the file open
        file.seek(0)
    except BaseException as error:
        file.close()
        if isinstance(error, ExportError):
            raise HTTPException(501, str(error)) from error
        raise
    return file
