"""Those who iterate over a run's events while it goes on."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

from stream.messages import LoggedEvent
from stream.runtime.metrics import Metrics

_MOST_UNHEARD = 1000  # events that wait for whoever iterates over them
_LOOK_EVERY_S = 0.1


class Listeners:
    """Passes on the starts and ends of events. What somebody is too slow for is counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._queues: list[queue.Queue[LoggedEvent]] = []

    def hear(self, over: Callable[[], bool]) -> Iterator[LoggedEvent]:
        """What is told from now on, until it is `over` and nothing waits any more."""
        heard: queue.Queue[LoggedEvent] = queue.Queue(_MOST_UNHEARD)
        self._queues.append(heard)
        return self._each(heard, over)

    def tell(self, logged: LoggedEvent) -> None:
        if logged.change == "progress":
            return
        for heard in list(self._queues):
            try:
                heard.put_nowait(logged)
            except queue.Full:
                self._metrics.count("unheard_events", logged.event.camera)

    def _each(
        self, heard: queue.Queue[LoggedEvent], over: Callable[[], bool]
    ) -> Iterator[LoggedEvent]:
        try:
            while True:
                is_over = over()  # before looking: what was told until then is seen
                try:
                    yield heard.get(timeout=_LOOK_EVERY_S)
                except queue.Empty:
                    if is_over:
                        return
        finally:
            self._queues.remove(heard)
