"""Live event updates over WebSocket: one thread receives them for all subscribers.

Owns the thread "dashboard feed", which starts with the first subscriber and ends with the run.
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
_MAX_QUEUED = 200  # messages of one subscriber
_MAX_SUBSCRIBERS = 100
_POLL_INTERVAL_S = 0.5  # for the end of the run
_GOING_AWAY, _TRY_AGAIN_LATER = 1001, 1013  # close codes, RFC 6455 and IANA


class Subscriber:
    """The queue of one WebSocket. Belongs to the event loop's thread, except `publish`."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._queue: deque[dict[str, Any]] = deque()
        self._dropped = 0

    def publish(self, message: dict[str, Any]) -> None:
        """From any thread; never blocks."""
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: dict[str, Any]) -> None:
        if len(self._queue) == _MAX_QUEUED:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(message)
        self.ready.set()

    def next(self) -> dict[str, Any] | None:
        """The oldest message, with the number dropped before it; None if the queue is empty."""
        if not self._queue:
            self.ready.clear()
            return None
        dropped, self._dropped = self._dropped, 0
        return {**self._queue.popleft(), "dropped": dropped}


class EventFeed:
    """Publishes starts and ends of events as soon as they are logged.

    `events` yields them, as `Pipeline.events` does, until the run ends; `over` is set before.
    """

    def __init__(self, events: Callable[[], Iterator[LoggedEvent]], over: threading.Event) -> None:
        self.over = over
        self._events = events
        self._subscribers: set[Subscriber] = set()
        self._lock = threading.Lock()  # guards the subscribers and the start of the thread
        self._thread: threading.Thread | None = None

    def subscribe(self) -> Subscriber | None:
        """A new subscriber, or None if the limit is reached."""
        subscriber = Subscriber()
        with self._lock:
            if len(self._subscribers) >= _MAX_SUBSCRIBERS:
                return None
            self._subscribers.add(subscriber)
            if self._thread is None:
                events = self._events()  # subscribes now, not when the thread runs
                self._thread = threading.Thread(
                    target=self._run, args=(events,), name="dashboard feed", daemon=True
                )
                self._thread.start()
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers.discard(subscriber)

    def publish(self, message: dict[str, Any]) -> None:
        """Send a message to all subscribers; from any thread."""
        with self._lock:
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.publish(message)

    def _run(self, events: Iterator[LoggedEvent]) -> None:
        try:
            for logged in events:
                self.publish({"change": logged.change, "event": as_row(logged)})
        except Exception:  # the run continues
            _log.exception("the dashboard receives no more event updates")


def routes(feed: EventFeed) -> list[WebSocketRoute]:
    """/api/events/live."""

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        subscriber = feed.subscribe()
        if subscriber is None:
            await websocket.close(_TRY_AGAIN_LATER, "too many subscribers; try again later")
            return
        disconnected = asyncio.create_task(_until_disconnected(websocket))
        try:
            await _send_all(websocket, feed, subscriber, disconnected)
        except WebSocketDisconnect:
            pass
        finally:
            feed.unsubscribe(subscriber)
            disconnected.cancel()
            await asyncio.gather(disconnected, return_exceptions=True)

    return [WebSocketRoute("/api/events/live", live)]


async def _send_all(
    websocket: WebSocket,
    feed: EventFeed,
    subscriber: Subscriber,
    disconnected: asyncio.Task[None],
) -> None:
    while not disconnected.done():
        if (message := subscriber.next()) is not None:
            await websocket.send_json(message)
            continue
        if feed.over.is_set():
            await websocket.close(_GOING_AWAY)
            return
        ready = asyncio.create_task(subscriber.ready.wait())
        await asyncio.wait(
            {ready, disconnected}, timeout=_POLL_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()


async def _until_disconnected(websocket: WebSocket) -> None:
    """Messages of a subscriber are ignored."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
