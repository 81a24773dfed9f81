"""Lets visitors try the model: a WebSocket for each, with pictures of their webcam or file.

A message of the browser is 8 bytes (seconds by its own clock, float64, big-endian) and a JPEG. The
answer is JSON, `told`, and is the leave to send the next picture: one is under way at a time.
Whoever leaves or breaks a limit is gone at once, and nothing of their pictures is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
import time
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.config.dashboard import VisitorsConfig
from stream.events.processor import View
from stream.pipeline import Pipeline
from stream.sessions.manager import GuestsFullError, NotReadyError
from stream.sessions.session import Guest
from ui.web.api.jpeg import NoPictureError, TooLargeError, decode
from ui.web.security.connection_limits import Places, TooManyHereError

_LONGEST_MESSAGE = 2**20  # bytes, as the server allows
_BYTES_A_PIXEL = 1.5  # of a JPEG with all the noise that a webcam has in the dark
_MOST_PER_S = 40.0  # pictures; the model is shown no more
_IDLE_S = 10.0  # without a picture, the place is for others
_LATEST_S = 1e8  # seconds that a visitor's clock may show

# Why a visit ended, as close codes; static/try_line.js says it to people.
_GOING_AWAY = 1001
_TURNED_OFF, _NOT_READY, _FULL, _FULL_FOR_ADDRESS = 4404, 4425, 4503, 4409
_NO_PICTURE, _TOO_LARGE, _TOO_FAST, _IDLE, _TIME_OVER = 4400, 4413, 4429, 4408, 4410


class Visitors(BaseModel):
    """What visitors may do with their own webcam or file."""

    most: int  # at once; 0 where it is turned off
    longest_s: float
    pixels: int  # of one picture
    bytes: int  # of one message


class _EndError(Exception):
    """A visit that is to end; `code` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"a visit ended with {code}")
        self.code = code


def router(pipeline: Pipeline, *, idle_s: float = _IDLE_S) -> APIRouter:
    """/api/visitors, and the WebSocket /api/try."""
    api = APIRouter()
    places = Places()

    @api.get("/api/visitors")
    def visitors() -> Visitors:
        """The limits of those who try the model with their own webcam or file."""
        limits = pipeline.config.dashboard.visitors
        return Visitors(
            most=limits.most,
            longest_s=limits.longest,
            pixels=limits.pixels,
            bytes=_longest_message(limits),
        )

    @api.websocket("/api/try")
    async def try_it(websocket: WebSocket) -> None:
        await websocket.accept()  # a browser is told no reason for what was not accepted
        code = await _visit(websocket, pipeline, places, idle_s)
        if code is not None:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # gone in this very moment
                await websocket.close(code)

    return api


async def _visit(
    websocket: WebSocket, pipeline: Pipeline, places: Places, idle_s: float
) -> int | None:
    """One visitor, from coming in to leaving; why they had to, or None if they went."""
    limits = pipeline.config.dashboard.visitors
    if not limits.most:
        return _TURNED_OFF
    address = websocket.client.host if websocket.client else ""
    try:
        with places.take(address, limits.most), pipeline.guests.admit() as guest:
            await _answer_pictures(websocket, pipeline, guest, idle_s)
    except _EndError as error:
        return error.code
    except TooManyHereError:
        return _FULL_FOR_ADDRESS
    except GuestsFullError:
        return _FULL
    except NotReadyError:
        return _NOT_READY
    except WebSocketDisconnect:
        pass
    return None


async def _answer_pictures(
    websocket: WebSocket, pipeline: Pipeline, guest: Guest, idle_s: float
) -> None:
    """Take pictures until the visitor goes. Raises _EndError, or WebSocketDisconnect."""
    limits = pipeline.config.dashboard.visitors
    until = time.monotonic() + limits.longest
    async with _Line(websocket, idle_s) as line:
        while not pipeline.over.is_set():
            left_s = until - time.monotonic()
            message = await line.next(min(idle_s, left_s))
            if message is None:
                raise _EndError(_IDLE if left_s > idle_s else _TIME_OVER)
            next_at = time.monotonic() + 1 / _MOST_PER_S
            await asyncio.to_thread(_take, message, guest, limits)
            await line.quiet_until(next_at)
            state = told(
                guest.view(),
                guest.waiting,
                now=time.monotonic(),
                until=until,
                top=pipeline.config.dashboard.top,
            )
            await line.send(json.dumps(state))
    raise _EndError(_GOING_AWAY)


def _take(message: bytes, guest: Guest, limits: VisitorsConfig) -> None:
    """Show the guest's picture to the model. In a thread."""
    if len(message) > _longest_message(limits):
        raise _EndError(_TOO_LARGE)
    if len(message) <= 8:
        raise _EndError(_NO_PICTURE)
    (time_s,) = struct.unpack(">d", message[:8])
    if not 0 <= time_s <= _LATEST_S:  # also where it is no number
        raise _EndError(_NO_PICTURE)
    try:
        pixels = decode(message[8:], most_pixels=limits.pixels)
    except TooLargeError:
        raise _EndError(_TOO_LARGE) from None
    except NoPictureError:
        raise _EndError(_NO_PICTURE) from None
    guest.put(pixels, time_s)


def told(view: View, waiting_s: float, *, now: float, until: float, top: int) -> dict[str, Any]:
    """What a visitor is told, JSON-ready.

    `waiting_s` is how many seconds of pictures the first window lacks; `now` and `until`, the end
    of the visit, are monotonic seconds. Times of events are by the visitor's own clock.
    """
    prediction = view.prediction
    return {
        "waiting_s": round(waiting_s, 1),
        "age_s": round(now - prediction.newest_at, 1) if prediction else None,
        "labels": [
            [label, round(share, 3)] for label, share in (prediction.top(top) if prediction else ())
        ],
        "events": [
            {
                "id": event.id,
                "label": event.label,
                "start_s": round(event.start_s, 2),
                "seconds": round(event.latest_s - event.start_s, 1),
            }
            for event in view.open_events
        ],
        "seconds_left": max(0, math.ceil(until - now)),
    }


class _Line:
    """What one browser says, always listened for: so it is noticed at once when it goes."""

    def __init__(self, websocket: WebSocket, idle_s: float) -> None:
        self._websocket, self._idle_s = websocket, idle_s
        self._heard: asyncio.Future[Any] = asyncio.ensure_future(websocket.receive())

    async def __aenter__(self) -> _Line:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._heard.cancel()
        await asyncio.wait({self._heard})

    async def next(self, within_s: float) -> bytes | None:
        """The next message, b"" for one that is text, None if there is none in time."""
        done, _ = await asyncio.wait({self._heard}, timeout=max(0.0, within_s))
        if not done:
            return None
        message = self._said()
        self._heard = asyncio.ensure_future(self._websocket.receive())
        return message

    async def quiet_until(self, moment: float) -> None:
        """Let time pass; nothing may be said in it."""
        await asyncio.wait({self._heard}, timeout=max(0.0, moment - time.monotonic()))
        if self._heard.done():
            self._said()
            raise _EndError(_TOO_FAST)  # it did not wait for the answer

    async def send(self, text: str) -> None:
        try:
            await asyncio.wait_for(self._websocket.send_text(text), self._idle_s)
        except asyncio.TimeoutError:  # it does not read
            raise _EndError(_IDLE) from None

    def _said(self) -> bytes:
        message = self._heard.result()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        return message.get("bytes") or b""


def _longest_message(limits: VisitorsConfig) -> int:
    return min(_LONGEST_MESSAGE, 2**16 + int(_BYTES_A_PIXEL * limits.pixels))
