"""Delivers a run's events to Python code: iterators in other threads, and callbacks."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator

from stream.messages import LoggedEvent
from stream.runtime.metrics import Metrics
from stream.sinks.base import EventSink

_log = logging.getLogger(__name__)
_MAX_QUEUED = 1000  # events for each iterator
_POLL_INTERVAL_S = 0.1


class EventIterator(Iterator[LoggedEvent]):
    """Starts and ends of events, as they are published. It may be used by one thread at a time."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._queue: queue.Queue[LoggedEvent] = queue.Queue(_MAX_QUEUED)
        self._is_closed = False

    def __next__(self) -> LoggedEvent:
        while not self._is_closed:
            was_over = self._is_over()  # before the get: all events until then are delivered
            try:
                return self._queue.get(timeout=_POLL_INTERVAL_S)
            except queue.Empty:
                self._is_closed = was_over
        raise StopIteration

    def close(self) -> None:
        self._is_closed = True

    def put(self, logged: LoggedEvent) -> bool:
        """From any thread; never blocks. False if the queue is full."""
        try:
            if not self._is_closed:
                self._queue.put_nowait(logged)
        except queue.Full:
            return False
        return True


class EventBroadcaster(EventSink):
    """Publishes starts and ends of events to its subscribers, once they are safely logged.

    Counter: `subscriber_overflow_events`, events dropped because an iterator was too slow.
    """

    name = "subscribers"

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()  # guards the subscribers
        # Weak: an iterator that nobody holds any more needs no events.
        self._iterators: weakref.WeakSet[EventIterator] = weakref.WeakSet()
        self._callbacks: list[Callable[[LoggedEvent], None]] = []

    def events(self, is_over: Callable[[], bool]) -> EventIterator:
        """Events published from now on, until `is_over()` is true and no event is left."""
        events = EventIterator(is_over)
        with self._lock:
            self._iterators.add(events)
        return events

    def subscribe(self, callback: Callable[[LoggedEvent], None]) -> Callable[[], None]:
        """Call `callback` with each event, on the publishing thread; it must not block.

        Returns a function that ends it.
        """
        with self._lock:
            self._callbacks = [*self._callbacks, callback]

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks = [one for one in self._callbacks if one is not callback]

        return unsubscribe

    def on_written(self, logged: LoggedEvent) -> None:
        if logged.change == "progress":
            return
        with self._lock:
            iterators, callbacks = list(self._iterators), self._callbacks
        for events in iterators:
            if not events.put(logged):
                self._metrics.count("subscriber_overflow_events", logged.event.camera)
        for callback in callbacks:
            try:
                callback(logged)
            except Exception:  # the other subscribers get it, too
                _log.exception("a subscriber of events failed")
