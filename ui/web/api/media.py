"""Serves clips and snapshots of events: only files that a row of the log names."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from stream.sinks.event_log.event_log import EventLog
from ui.web.api.events_api import log_errors

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",  # no copy remains after a logout
}
_NOT_FOUND = "there is no such file"


def routes(log: EventLog, data: Path) -> list[Route]:
    """/media/clips/ID.mp4 and /media/snapshots/ID.jpg of a data folder."""
    return [
        _route(log, data / "clips", "clip", "mp4", "video/mp4"),
        _route(log, data / "snapshots", "snapshot", "jpg", "image/jpeg"),
    ]


def _route(log: EventLog, folder: Path, column: str, suffix: str, media_type: str) -> Route:
    pattern = re.compile(rf"([0-9a-f]{{32}})\.{suffix}")

    def serve(request: Request) -> Response:
        name = request.path_params["name"]
        match = pattern.fullmatch(name)
        with log_errors():
            row = log.event(match[1]) if match else None
        if row is None or row[column] != name:
            raise HTTPException(404, _NOT_FOUND)
        file = folder / name
        try:
            status = os.lstat(file)
        except OSError:
            raise HTTPException(404, _NOT_FOUND) from None
        if not stat.S_ISREG(status.st_mode):  # symlinks are rejected, too
            raise HTTPException(404, _NOT_FOUND)
        return FileResponse(file, media_type=media_type, headers=_HEADERS, stat_result=status)

    return Route(f"/media/{folder.name}/{{name}}", serve, methods=["GET", "HEAD"])
