"""Files of events: exports in the formats of the log, and the clips and snapshots of its rows."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stream.formats.base import FORMATS, EventFormat, Options, export
from stream.sinks.event_log.event_log import EventLog
from ui.web.api.errors import UNAVAILABLE, error_responses
from ui.web.api.events_api import EventFilters

_MAX_CONCURRENT = 2  # each may read the whole log
_CHUNK_BYTES = 2**16
_MEDIA_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",  # no copy remains after a logout
}
_NO_FILE = "there is no such file"


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
    """Streams a file; calls `on_close` when it was sent or the client has disconnected."""

    def __init__(
        self, file: IO[bytes], event_format: EventFormat, on_close: Callable[[], None]
    ) -> None:
        self._on_close = on_close
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
            self._on_close()


def export_router(log: EventLog) -> APIRouter:
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
        responses={
            200: {
                "description": "the file",
                "content": {one.media_type: {} for one in FORMATS.values()},
            }
        }
        | UNAVAILABLE
        | error_responses({501: "a package for this format is not installed"}),
    )
    def events_as_file(
        query: EventFilters, format: FormatName = "jsonl", time_base: TimeBase = "wall"
    ) -> Response:
        """All matching events as a file, oldest first."""
        if not slots.acquire(blocking=False):
            raise HTTPException(
                503, "too many exports in progress; try again", {"Retry-After": "2"}
            )
        with ExitStack() as stack:
            stack.callback(slots.release)
            file = stack.enter_context(tempfile.TemporaryFile())
            options = Options(time_base=time_base, spreadsheet=True)
            export(log.rows(query), file, format, options)
            file.seek(0)
            return _Download(file, FORMATS[format], stack.pop_all().close)

    return api


def media_routes(log: EventLog, data: Path) -> list[Route]:
    """/media/clips/ID.mp4 and /media/snapshots/ID.jpg: only files that a row of the log names."""
    return [
        _media_route(log, data / "clips", "clip", "mp4", "video/mp4"),
        _media_route(log, data / "snapshots", "snapshot", "jpg", "image/jpeg"),
    ]


def _media_route(log: EventLog, folder: Path, column: str, suffix: str, media_type: str) -> Route:
    pattern = re.compile(rf"([0-9a-f]{{32}})\.{suffix}")

    def serve(request: Request) -> Response:
        name = request.path_params["name"]
        match = pattern.fullmatch(name)
        row = log.event(match[1]) if match else None
        if row is None or row[column] != name:
            raise HTTPException(404, _NO_FILE)
        file = folder / name
        try:
            status = os.lstat(file)
        except OSError:
            raise HTTPException(404, _NO_FILE) from None
        if not stat.S_ISREG(status.st_mode):  # symlinks are rejected, too
            raise HTTPException(404, _NO_FILE)
        return FileResponse(file, media_type=media_type, headers=_MEDIA_HEADERS, stat_result=status)

    return Route(f"/media/{folder.name}/{{name}}", serve, methods=["GET", "HEAD"])
