"""Service: a part that is started, asked to stop and joined; its thread; delays of retries."""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from stream.runtime.metrics import Metrics

T = TypeVar("T")
_log = logging.getLogger(__name__)
_POLL_INTERVAL_S = 0.1


class Service(Protocol):
    """A part of a run with a lifecycle. `request_stop` and `join` may come before `start`."""

    def start(self) -> None: ...

    def request_stop(self) -> None:
        """Start to stop; does not wait. May be called more than once, from any thread."""

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if it does not come within `timeout_s` seconds."""


class ServiceThread:
    """The thread of a service. A crash has one answer: it is logged, counted and reported.

    `work` runs on the thread and returns when `stopping` is set or nothing is left to do. If it
    raises, `crash` holds the reason in one line, the counter `crashes` goes up by one, and
    `on_crash` receives that line on the dying thread; a service that a run can't do without
    passes the run's failure handler.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        *,
        metrics: Metrics,
        crashes: str = "thread_crashes",
        camera: str = "",
        on_crash: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.stopping = threading.Event()
        self.crash = ""
        self._work, self._on_crash = work, on_crash
        self._metrics, self._counter, self._camera = metrics, crashes, camera
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        self.stopping.set()

    def items(self, items: queue.Queue[T]) -> Iterator[T]:
        """The items of a queue until the stop, and those that are in it then."""
        while not (self.stopping.is_set() and items.empty()):
            with contextlib.suppress(queue.Empty):
                yield items.get(timeout=_POLL_INTERVAL_S)

    def join(self, timeout_s: float) -> bool:
        """True at once for a thread that was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def report(self, error: Exception) -> None:
        """Answer a crash. `work` calls it where it can go on after one."""
        self.crash = f"{self.name} crashed: {type(error).__name__}: {error}"
        _log.error("%s crashed", self.name, exc_info=error)
        self._metrics.count(self._counter, self._camera)
        if self._on_crash is not None:
            self._on_crash(self.crash)

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.report(error)


def join_all(services: Iterable[Service], timeout_s: float) -> bool:
    """Join services within one timeout. False where one of them did not end."""
    deadline = time.monotonic() + timeout_s
    ended = [service.join(max(0.0, deadline - time.monotonic())) for service in services]
    return all(ended)


class StopDeadline:
    """The time that all services of a run have together to stop, in seconds."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._at: float | None = None  # monotonic seconds

    def start(self) -> None:
        """The time starts now, if it has not started yet."""
        if self._at is None:
            self._at = time.monotonic() + self._timeout_s

    def join(self, name: str, join: Callable[[float], bool], min_timeout_s: float = 0.1) -> bool:
        """Call `join` with the seconds that are left. False, and a warning, on a timeout."""
        left_s = 0.0 if self._at is None else self._at - time.monotonic()
        ended = join(max(min_timeout_s, left_s))
        if not ended:
            _log.warning("%s did not stop in time", name)
        return ended


class Backoff:
    """Delays that double from `first_s` to `max_s` seconds, each with a quarter of jitter.

    Jitter keeps many clients from retrying at the same moment after an outage.
    """

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s, self._max_s = first_s, max_s
        self._delay_s = first_s

    def next_s(self) -> float:
        """The delay before the next attempt, in seconds, at most 1.25 `max_s`."""
        delay_s = min(self._delay_s, self._max_s)
        self._delay_s = 2 * delay_s
        return delay_s * random.uniform(0.75, 1.25)

    def reset(self) -> None:
        """An attempt succeeded: start again with the shortest delay."""
        self._delay_s = self._first_s
