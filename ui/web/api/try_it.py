"""Browser sessions of the tab "Try it": a WebSocket that receives frames of a webcam or file.

A message of the browser is 8 bytes (a timestamp in seconds of its own clock, float64, big-endian)
and a JPEG. The response is JSON, see `session_state`, and permits the next frame: one is in flight
at a time. A session that disconnects or breaks a limit ends at once; none of its frames are stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import struct
import time
from typing import Any

import numpy as np
from fastapi import APIRouter
from PIL.JpegImagePlugin import JpegImageFile
from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.config.dashboard import TryItConfig
from stream.events.processor import CameraView
from stream.pipeline import Pipeline
from stream.sessions.manager import ModelNotReadyError, SessionLimitError
from stream.sessions.session import BrowserSession
from ui.web.security.addresses import AddressLimitError, PerAddressLimit

_MAX_MESSAGE_BYTES = 2**20  # as the server allows
_BYTES_PER_PIXEL = 1.5  # of a JPEG with all the noise of a webcam in the dark
_MAX_FRAMES_PER_S = 40.0  # the model uses no more
_IDLE_TIMEOUT_S = 10.0  # without a frame
_MAX_TIMESTAMP_S = 1e8

# Close codes; static/try/try_socket.js has a text for each.
_GOING_AWAY = 1001
_DISABLED, _NOT_READY, _LIMIT_REACHED, _ADDRESS_LIMIT_REACHED = 4404, 4425, 4503, 4409
INVALID_FRAME, FRAME_TOO_LARGE, _TOO_FAST, _IDLE, _TIME_LIMIT = 4400, 4413, 4429, 4408, 4410


class SessionLimits(BaseModel):
    """The limits of browser sessions."""

    max_sessions: int  # 0 if the tab is disabled
    max_duration_s: float
    max_pixels: int  # of one frame
    max_message_bytes: int


class EndSessionError(Exception):
    """Ends a session with a close code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the session ended with code {code}")
        self.code = code


def router(pipeline: Pipeline, *, idle_timeout_s: float = _IDLE_TIMEOUT_S) -> APIRouter:
    """/api/try/limits, and the WebSocket /api/try."""
    api = APIRouter()
    connections = PerAddressLimit()

    @api.get("/api/try/limits")
    def limits() -> SessionLimits:
        """The limits of browser sessions."""
        config = pipeline.config.dashboard.try_it
        return SessionLimits(
            max_sessions=config.max_sessions,
            max_duration_s=config.max_duration,
            max_pixels=config.max_pixels,
            max_message_bytes=_max_message_bytes(config),
        )

    @api.websocket("/api/try")
    async def try_it(websocket: WebSocket) -> None:
        await websocket.accept()  # browsers hide the reason of a rejected handshake
        code = await _run_session(websocket, pipeline, connections, idle_timeout_s)
        if code is not None:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # disconnected meanwhile
                await websocket.close(code)

    return api


async def _run_session(
    websocket: WebSocket,
    pipeline: Pipeline,
    connections: PerAddressLimit,
    idle_timeout_s: float,
) -> int | None:
    """Run one session. Its close code, or None if the browser disconnected."""
    limits = pipeline.config.dashboard.try_it
    if not limits.max_sessions:
        return _DISABLED
    address = websocket.client.host if websocket.client else ""
    try:
        with (
            connections.acquire(address, limits.max_sessions),
            pipeline.sessions.open() as session,
        ):
            await _process_frames(websocket, pipeline, session, idle_timeout_s)
    except EndSessionError as error:
        return error.code
    except AddressLimitError:
        return _ADDRESS_LIMIT_REACHED
    except SessionLimitError:
        return _LIMIT_REACHED
    except ModelNotReadyError:
        return _NOT_READY
    except WebSocketDisconnect:
        pass
    return None


async def _process_frames(
    websocket: WebSocket, pipeline: Pipeline, session: BrowserSession, idle_timeout_s: float
) -> None:
    """Process frames until the session ends. Raises EndSessionError or WebSocketDisconnect."""
    limits = pipeline.config.dashboard.try_it
    ends_at = time.monotonic() + limits.max_duration
    async with _Connection(websocket, idle_timeout_s) as connection:
        while not pipeline.over.is_set():
            remaining_s = ends_at - time.monotonic()
            message = await connection.next(min(idle_timeout_s, remaining_s))
            if message is None:
                raise EndSessionError(_IDLE if remaining_s > idle_timeout_s else _TIME_LIMIT)
            next_at = time.monotonic() + 1 / _MAX_FRAMES_PER_S
            await asyncio.to_thread(_put_frame, message, session, limits)
            await connection.wait_until(next_at)
            state = session_state(
                session.view(),
                session.missing_s,
                now=time.monotonic(),
                ends_at=ends_at,
                top=pipeline.config.dashboard.top_k,
            )
            await connection.send(json.dumps(state))
    raise EndSessionError(_GOING_AWAY)


def _put_frame(message: bytes, session: BrowserSession, limits: TryItConfig) -> None:
    """Decode a message and pass its frame to the session. Runs in a worker thread."""
    if len(message) > _max_message_bytes(limits):
        raise EndSessionError(FRAME_TOO_LARGE)
    if len(message) <= 8:
        raise EndSessionError(INVALID_FRAME)
    (time_s,) = struct.unpack(">d", message[:8])
    if not 0 <= time_s <= _MAX_TIMESTAMP_S:  # false for NaN, too
        raise EndSessionError(INVALID_FRAME)
    session.put(decode_jpeg(message[8:], max_pixels=limits.max_pixels), time_s)


def decode_jpeg(jpeg: bytes, *, max_pixels: int) -> np.ndarray:
    """Decode an untrusted JPEG to RGB uint8 (H, W, 3).

    Raises EndSessionError; for an image that is too large before the pixels are allocated.
    """
    try:
        # The class itself: Image.open would accept other formats, and multi-image files.
        with JpegImageFile(io.BytesIO(jpeg)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise EndSessionError(FRAME_TOO_LARGE)
            # Browsers never encode a canvas as progressive JPEG, and each of its thousands of
            # scans may be a few bytes that take as long to decode as a whole image.
            if image.info.get("progressive"):
                raise EndSessionError(INVALID_FRAME)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, struct.error):
        raise EndSessionError(INVALID_FRAME) from None


def session_state(
    view: CameraView, warmup_s: float, *, now: float, ends_at: float, top: int
) -> dict[str, Any]:
    """The response to a frame, JSON-ready.

    `warmup_s` is how many seconds of frames the first window still needs; `now` and `ends_at` are
    monotonic seconds. Times of events are seconds of the browser's clock.
    """
    prediction = view.prediction
    return {
        "warmup_s": round(warmup_s, 1),
        "age_s": round(now - prediction.newest_at, 1) if prediction else None,
        "labels": [
            [label, round(probability, 3)]
            for label, probability in (prediction.top(top) if prediction else ())
        ],
        "events": [
            {
                "id": event.id,
                "label": event.label,
                "start_s": round(event.start_s, 2),
                "duration_s": round(event.latest_s - event.start_s, 1),
            }
            for event in view.open_events
        ],
        "remaining_s": max(0, math.ceil(ends_at - now)),
    }


class _Connection:
    """A browser's connection. It is always read, so a disconnect is noticed at once."""

    def __init__(self, websocket: WebSocket, idle_timeout_s: float) -> None:
        self._websocket, self._idle_timeout_s = websocket, idle_timeout_s
        self._receiving: asyncio.Future[Any] = asyncio.ensure_future(websocket.receive())

    async def __aenter__(self) -> _Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._receiving.cancel()
        await asyncio.wait({self._receiving})

    async def next(self, timeout_s: float) -> bytes | None:
        """The next message, b"" for a text message, None after `timeout_s`."""
        done, _ = await asyncio.wait({self._receiving}, timeout=max(0.0, timeout_s))
        if not done:
            return None
        message = self._received()
        self._receiving = asyncio.ensure_future(self._websocket.receive())
        return message

    async def wait_until(self, deadline: float) -> None:
        """Wait until `deadline`. Raises EndSessionError if a message arrives before."""
        await asyncio.wait({self._receiving}, timeout=max(0.0, deadline - time.monotonic()))
        if self._receiving.done():
            self._received()
            raise EndSessionError(_TOO_FAST)  # it did not wait for the response

    async def send(self, text: str) -> None:
        try:
            await asyncio.wait_for(self._websocket.send_text(text), self._idle_timeout_s)
        except asyncio.TimeoutError:  # the browser does not read
            raise EndSessionError(_IDLE) from None

    def _received(self) -> bytes:
        message = self._receiving.result()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        return message.get("bytes") or b""


def _max_message_bytes(limits: TryItConfig) -> int:
    return min(_MAX_MESSAGE_BYTES, 2**16 + int(_BYTES_PER_PIXEL * limits.max_pixels))
