"""Clips and snapshots of events: files that a row of the log names, and no others."""

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
from ui.web.api.events_api import answered

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",  # whoever logs out shall leave nothing behind
}
_NOTHING = "there is no such file"


def routes(log: EventLog, data: Path) -> list[Route]:
    """/media/clips/ID.mp4 and /media/snapshots/ID.jpg of a data folder."""
    return [
        _route(log, data / "clips", "clip", "mp4", "video/mp4"),
        _route(log, data / "snapshots", "snapshot", "jpg", "image/jpeg"),
    ]


def _route(log: EventLog, folder: Path, column: str, suffix: str, kind: str) -> Route:
    named = re.compile(rf"([0-9a-f]{{32}})\.{suffix}")

    def serve(request: Request) -> Response:
        name = request.path_params["name"]
        found = named.fullmatch(name)
        with answered():
            row = log.event(found[1]) if found else None
        if row is None or row[column] != name:
            raise HTTPException(404, _NOTHING)
        file = folder / name
        try:
            about = os.lstat(file)
        except OSError:
            raise HTTPException(404, _NOTHING) from None
        if not stat.S_ISREG(about.st_mode):  # nor a link, wherever it leads
            raise HTTPException(404, _NOTHING)
        return FileResponse(file, media_type=kind, headers=_HEADERS, stat_result=about)

    return Route(f"/media/{folder.name}/{{name}}", serve, methods=["GET", "HEAD"])
