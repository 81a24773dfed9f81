"""Delivers a run's events to iterators in other threads while it runs."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

from stream.messages import LoggedEvent
from stream.runtime.metrics import Metrics

_MAX_QUEUED = 1000  # events for each subscriber
_POLL_INTERVAL_S = 0.1


class EventBroadcaster:
    """Publishes the starts and ends of events to its subscribers.

    Counter: `subscriber_overflow_events`, events dropped because a subscriber was too slow.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._queues: list[queue.Queue[LoggedEvent]] = []

    def subscribe(self, is_over: Callable[[], bool]) -> Iterator[LoggedEvent]:
        """Events published from now on, until `is_over()` is true and the queue is empty."""
        events: queue.Queue[LoggedEvent] = queue.Queue(_MAX_QUEUED)
        self._queues.append(events)
        return self._iterate(events, is_over)

    def publish(self, logged: LoggedEvent) -> None:
        if logged.change == "progress":
            return
        for events in list(self._queues):
            try:
                events.put_nowait(logged)
            except queue.Full:
                self._metrics.count("subscriber_overflow_events", logged.event.camera)

    def _iterate(
        self, events: queue.Queue[LoggedEvent], is_over: Callable[[], bool]
    ) -> Iterator[LoggedEvent]:
        try:
            while True:
                was_over = is_over()  # before the get: all events until then are delivered
                try:
                    yield events.get(timeout=_POLL_INTERVAL_S)
                except queue.Empty:
                    if was_over:
                        return
        finally:
            self._queues.remove(events)
