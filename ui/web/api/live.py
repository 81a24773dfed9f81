"""The live-video route: a WebSocket for each viewer and camera, one picture under way at a time.

The browser asks for each picture by saying how wide it shows it, as digits, and is answered once,
with the newest picture: so a slow one gets fewer, never older ones. An answer is 4 bytes (length
of the header, big-endian), a JSON header (`views.live_state` and `_facts`) and a JPEG, which is
empty where there is no new picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.capture.camera import Camera
from stream.pipeline import Pipeline
from stream.sinks.event_log.rows import iso
from ui.web.api.views import live_state, waiting_for

_STATE_EVERY_S = 1.0  # a camera that gives no picture still tells its state
_RESTS_AFTER_S = 1.0  # without being asked; then nobody needs pictures for this viewer
_ASKED = re.compile(r"[1-9]\d{0,4}", re.ASCII)
_GOING_AWAY, _NOT_UNDERSTOOD, _NOT_FOUND = 1001, 1008, 4404


def routes(pipeline: Pipeline) -> list[WebSocketRoute]:
    """/live/CAMERA."""

    async def live(websocket: WebSocket) -> None:
        camera = pipeline.cameras.get(websocket.path_params["camera"])
        if camera is None:
            await websocket.close(_NOT_FOUND)
            return
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await _serve(websocket, pipeline, camera)

    return [WebSocketRoute("/live/{camera}", live)]


async def _serve(websocket: WebSocket, pipeline: Pipeline, camera: Camera) -> None:
    """Answer one browser until it goes, or the camera does."""
    loop = asyncio.get_running_loop()
    shown, shown_width = -1, 0
    with contextlib.closing(_Watching(camera)) as watching:
        while True:
            rest = loop.call_later(_RESTS_AFTER_S, watching.close)
            try:
                width = await _asked(websocket)
            finally:
                rest.cancel()
            if width is None:
                await websocket.close(_NOT_UNDERSTOOD, "ask by the picture's width, in digits")
                return
            asked_at = time.monotonic()
            watching.begin()
            await watching.newer_than(shown)
            if pipeline.over.is_set() or pipeline.cameras.get(camera.name) is not camera:
                await websocket.close(_GOING_AWAY)
                return
            if width > shown_width:  # the same picture is news, too: it was smaller
                shown = -1
            answer, shown = await asyncio.to_thread(
                _answer, pipeline, camera, width, shown, asked_at
            )
            shown_width = width
            await websocket.send_bytes(answer)


async def _asked(websocket: WebSocket) -> int | None:
    """The width that is asked for next, or None where it can't be understood."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", _GOING_AWAY))
    text = message.get("text") or ""
    return int(text) if _ASKED.fullmatch(text) else None


class _Watching:
    """One viewer's interest in a camera's pictures. Belongs to the event loop's thread."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._loop = asyncio.get_running_loop()
        self._fresh = asyncio.Event()
        self._fresh.set()  # what there is already is good enough to begin with
        self._unsubscribe: Callable[[], None] | None = None

    def begin(self) -> None:
        if self._unsubscribe is None:
            self._unsubscribe = self._camera.picture.subscribe(self._tell)

    def close(self) -> None:
        """Nobody looks, for now."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._fresh.clear()

    async def newer_than(self, shown: int) -> None:
        """Until there is a picture after the one that was shown, for a second at most."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wait(shown), _STATE_EVERY_S)

    async def _wait(self, shown: int) -> None:
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            frame = self._camera.picture.frame
            if frame is not None and frame.index != shown:
                return

    def _tell(self) -> None:  # on the capture thread
        with contextlib.suppress(RuntimeError):  # the loop was closed in this very moment
            self._loop.call_soon_threadsafe(self._fresh.set)


def _answer(
    pipeline: Pipeline, camera: Camera, width: int, shown: int, asked_at: float
) -> tuple[bytes, int]:
    """The next answer, and the index of the frame in it, or of the one shown before."""
    frame, jpeg = camera.picture.frame, b""
    if frame is not None and frame.index != shown:
        picture = camera.picture.jpeg(width)
        if picture is not None:
            frame, jpeg = picture
            shown = frame.index
    seen_at = frame.seen_at if frame is not None else None
    views = pipeline.views(camera.name)
    now = time.monotonic()
    state = live_state(
        camera.name,
        camera.state,
        camera.reason or camera.fault,
        views,
        pipeline.metrics,
        waiting=waiting_for(pipeline.config.model, pipeline.spec, views, now),
        now=now,
        top=pipeline.config.dashboard.top,
    )
    facts = _facts(camera, seen_at, asked_at, now)
    header = json.dumps({**state, **facts}, separators=(",", ":")).encode()
    return len(header).to_bytes(4, "big") + header + jpeg, shown


def _facts(camera: Camera, seen_at: float | None, asked_at: float, now: float) -> dict[str, Any]:
    """Of the picture and of the camera as such; times are milliseconds."""
    since = datetime.now(timezone.utc) - timedelta(seconds=now - camera.since_at)
    return {
        "fault": camera.fault,
        "since": iso(since),  # in this state, or with this fault
        "picture_ms": round(1000 * (now - seen_at)) if seen_at is not None else None,  # its age
        "waited_ms": round(1000 * (now - asked_at)),  # between question and answer
        "zones": [
            {"name": stream.name.partition("/")[2], "points": stream.zone.points}
            for stream in camera.streams
            if stream.zone is not None
        ],
    }
