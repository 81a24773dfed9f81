"""News of events for browsers and programs that listen: one thread hears them for all.

Owns the thread "dashboard feed", which begins with the first listener and ends with the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.messages import LoggedEvent
from stream.sinks.event_log.rows import as_row

_log = logging.getLogger(__name__)
_MOST_WAITING = 200  # news for one listener
_MOST_LISTENERS = 100
_LOOK_EVERY_S = 0.5  # whether the run is over
_GOING_AWAY, _TRY_LATER = 1001, 1013


class Listener:
    """What waits for one WebSocket. Belongs to the event loop's thread, but for `tell`."""

    def __init__(self) -> None:
        self.fresh = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[dict[str, Any]] = deque()
        self._dropped = 0

    def tell(self, news: dict[str, Any]) -> None:
        """From any thread; never blocks."""
        with contextlib.suppress(RuntimeError):  # the loop was closed in this very moment
            self._loop.call_soon_threadsafe(self._put, news)

    def _put(self, news: dict[str, Any]) -> None:
        if len(self._waiting) == _MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(news)
        self.fresh.set()

    def next(self) -> dict[str, Any] | None:
        """The oldest news, with how many were dropped before them; None where there are none."""
        if not self._waiting:
            self.fresh.clear()
            return None
        dropped, self._dropped = self._dropped, 0
        return {**self._waiting.popleft(), "dropped": dropped}


class EventFeed:
    """Passes on starts and ends of events, each when it is logged.

    `events` gives them, as `Pipeline.events` does, and ends with the run; `over` is set before.
    """

    def __init__(self, events: Callable[[], Iterator[LoggedEvent]], over: threading.Event) -> None:
        self.over = over
        self._events = events
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()  # of the listeners, and of the thread's beginning
        self._thread: threading.Thread | None = None

    def join(self) -> Listener | None:
        """Somebody who listens from now on; None where there are too many."""
        listener = Listener()
        with self._lock:
            if len(self._listeners) >= _MOST_LISTENERS:
                return None
            self._listeners.add(listener)
            if self._thread is None:
                events = self._events()  # from this moment on, not from when the thread runs
                self._thread = threading.Thread(
                    target=self._run, args=(events,), name="dashboard feed", daemon=True
                )
                self._thread.start()
        return listener

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def tell(self, news: dict[str, Any]) -> None:
        """To all who listen; from any thread."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.tell(news)

    def _run(self, events: Iterator[LoggedEvent]) -> None:
        try:
            for logged in events:
                self.tell({"change": logged.change, "event": as_row(logged)})
        except Exception:  # the watch goes on
            _log.exception("the dashboard hears of no events any more")


def routes(feed: EventFeed) -> list[WebSocketRoute]:
    """/api/events/live."""

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        listener = feed.join()
        if listener is None:
            await websocket.close(_TRY_LATER, "too many listen; try again later")
            return
        gone = asyncio.create_task(_until_gone(websocket))
        try:
            await _send_all(websocket, feed, listener, gone)
        except WebSocketDisconnect:
            pass
        finally:
            feed.leave(listener)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    return [WebSocketRoute("/api/events/live", live)]


async def _send_all(
    websocket: WebSocket, feed: EventFeed, listener: Listener, gone: asyncio.Task[None]
) -> None:
    while not gone.done():
        if (news := listener.next()) is not None:
            await websocket.send_json(news)
            continue
        if feed.over.is_set():
            await websocket.close(_GOING_AWAY)
            return
        fresh = asyncio.create_task(listener.fresh.wait())
        await asyncio.wait(
            {fresh, gone}, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED
        )
        fresh.cancel()


async def _until_gone(websocket: WebSocket) -> None:
    """What a listener sends means nothing."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
