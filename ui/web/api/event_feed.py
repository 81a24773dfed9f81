"""Live event updates over WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import anyio
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.messages import LoggedEvent
from stream.sinks.event_log.rows import as_row

_MAX_QUEUED = 200  # messages of one subscriber
_MAX_SUBSCRIBERS = 100
_POLL_INTERVAL_S = 0.5  # for the end of the run
_GOING_AWAY, _TRY_AGAIN_LATER = 1001, 1013  # close codes, RFC 6455 and IANA


class Subscriber:
    """The queue of one WebSocket. Belongs to the event loop's thread, except `publish`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MAX_QUEUED)
        self._dropped = 0

    def publish(self, message: dict[str, Any]) -> None:
        """From any thread; never blocks."""
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: dict[str, Any]) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self._dropped += 1
        self._queue.put_nowait(message)

    async def next(self) -> dict[str, Any]:
        """The oldest message, with the number dropped before it."""
        message = await self._queue.get()
        dropped, self._dropped = self._dropped, 0
        return {**message, "dropped": dropped}


EventCallback = Callable[[LoggedEvent], None]


class EventFeed:
    """Publishes starts and ends of events as soon as they are logged.

    `subscribe_to_run` registers a callback for them, as `Pipeline.subscribe` does. `over` is set at
    the end of the run.
    """

    def __init__(
        self, subscribe_to_run: Callable[[EventCallback], object], over: threading.Event
    ) -> None:
        self.over = over
        self._subscribers: set[Subscriber] = set()
        self._lock = threading.Lock()  # guards the subscribers
        subscribe_to_run(self._on_event)

    def subscribe(self) -> Subscriber | None:
        """A new subscriber, or None if the limit is reached."""
        subscriber = Subscriber()
        with self._lock:
            if len(self._subscribers) >= _MAX_SUBSCRIBERS:
                return None
            self._subscribers.add(subscriber)
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

    # On the event log's thread.
    def _on_event(self, logged: LoggedEvent) -> None:
        self.publish({"change": logged.change, "event": as_row(logged)})


def routes(feed: EventFeed) -> list[WebSocketRoute]:
    """/api/events/live."""

    async def live(websocket: WebSocket) -> None:
        subscriber = feed.subscribe()  # first: a connected client misses nothing
        if subscriber is None:
            await websocket.accept()
            await websocket.close(_TRY_AGAIN_LATER, "too many subscribers; try again later")
            return
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await websocket.accept()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_send_all, websocket, feed, subscriber)
                    while (await websocket.receive())["type"] != "websocket.disconnect":
                        pass  # messages of a subscriber are ignored
                    tasks.cancel_scope.cancel()
        finally:
            feed.unsubscribe(subscriber)

    return [WebSocketRoute("/api/events/live", live)]


async def _send_all(websocket: WebSocket, feed: EventFeed, subscriber: Subscriber) -> None:
    """Send events until the run or the connection ends."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            try:
                message = await asyncio.wait_for(subscriber.next(), _POLL_INTERVAL_S)
            except asyncio.TimeoutError:
                if feed.over.is_set():
                    await websocket.close(_GOING_AWAY)
                    return
            else:
                await websocket.send_json(message)
