"""The live-video route: a WebSocket for each viewer and camera, one frame in flight at a time.

The browser requests each frame by its display width in pixels, as digits, and gets one response
with the newest frame. A slow browser therefore gets fewer frames, never older ones. A response is
4 bytes (length of the header, big-endian), a JSON header (`views.live_state` and `_metadata`) and a
JPEG, which is empty if there is no new frame.
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

_STATE_INTERVAL_S = 1.0  # a camera without new frames still sends its state
_IDLE_TIMEOUT_S = 1.0  # without a request; then no frames are needed for this viewer
_WIDTH = re.compile(r"[1-9]\d{0,4}", re.ASCII)
_GOING_AWAY, _POLICY_VIOLATION, _NOT_FOUND = 1001, 1008, 4404


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
    """Serve one browser until it disconnects or the camera is removed."""
    loop = asyncio.get_running_loop()
    shown, shown_width = -1, 0
    with contextlib.closing(_FrameSubscription(camera)) as subscription:
        while True:
            idle_timer = loop.call_later(_IDLE_TIMEOUT_S, subscription.close)
            try:
                width = await _requested_width(websocket)
            finally:
                idle_timer.cancel()
            if width is None:
                await websocket.close(_POLICY_VIOLATION, "send the frame's width, in digits")
                return
            requested_at = time.monotonic()
            subscription.start()
            await subscription.newer_than(shown)
            if pipeline.over.is_set() or pipeline.cameras.get(camera.name) is not camera:
                await websocket.close(_GOING_AWAY)
                return
            if width > shown_width:  # send the same frame again: it was smaller
                shown = -1
            response, shown = await asyncio.to_thread(
                _response, pipeline, camera, width, shown, requested_at
            )
            shown_width = width
            await websocket.send_bytes(response)


async def _requested_width(websocket: WebSocket) -> int | None:
    """The width in the next request, None if the request is invalid."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", _GOING_AWAY))
    text = message.get("text") or ""
    return int(text) if _WIDTH.fullmatch(text) else None


class _FrameSubscription:
    """One viewer's subscription to a camera's frames. Belongs to the event loop's thread."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._loop = asyncio.get_running_loop()
        self._new_frame = asyncio.Event()
        self._new_frame.set()  # the current frame will do for the first response
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        if self._unsubscribe is None:
            self._unsubscribe = self._camera.latest_frame.subscribe(self._on_frame)

    def close(self) -> None:
        """Stop receiving frames; `start` resumes."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._new_frame.clear()

    async def newer_than(self, shown: int) -> None:
        """Wait for a frame after `shown`, at most `_STATE_INTERVAL_S`."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wait(shown), _STATE_INTERVAL_S)

    async def _wait(self, shown: int) -> None:
        while True:
            await self._new_frame.wait()
            self._new_frame.clear()
            frame = self._camera.latest_frame.frame
            if frame is not None and frame.index != shown:
                return

    def _on_frame(self) -> None:  # on the capture thread
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._new_frame.set)


def _response(
    pipeline: Pipeline, camera: Camera, width: int, shown: int, requested_at: float
) -> tuple[bytes, int]:
    """The next response, and the index of its frame or of the frame shown before."""
    frame, jpeg = camera.latest_frame.frame, b""
    if frame is not None and frame.index != shown:
        newest = camera.latest_frame.jpeg(width)
        if newest is not None:
            frame, jpeg = newest
            shown = frame.index
    seen_at = frame.seen_at if frame is not None else None
    views = pipeline.processor.views(camera.name)
    now = time.monotonic()
    state = live_state(
        camera.name,
        camera.state,
        camera.reason or camera.fault,
        views,
        pipeline.metrics,
        waiting=waiting_for(pipeline.config.model, pipeline.spec, views, now),
        now=now,
        top=pipeline.config.dashboard.top_k,
    )
    metadata = _metadata(camera, seen_at, requested_at, now)
    header = json.dumps({**state, **metadata}, separators=(",", ":")).encode()
    return len(header).to_bytes(4, "big") + header + jpeg, shown


def _metadata(
    camera: Camera, seen_at: float | None, requested_at: float, now: float
) -> dict[str, Any]:
    """Facts of the frame and of the camera itself; times are milliseconds."""
    since = datetime.now(timezone.utc) - timedelta(seconds=now - camera.since_at)
    return {
        "fault": camera.fault,
        "since": iso(since),  # start of this state or fault
        "frame_age_ms": round(1000 * (now - seen_at)) if seen_at is not None else None,
        "server_ms": round(1000 * (now - requested_at)),  # between request and response
        "zones": [
            {"name": stream.name.partition("/")[2], "points": stream.zone.points}
            for stream in camera.streams
            if stream.zone is not None
        ],
    }
