"""AlertDispatcher: delivers queued alerts to a receiver, in order. Its thread owns the sender."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

from stream.messages import LoggedEvent
from stream.runtime.metrics import Metrics
from stream.runtime.service import Backoff, ServiceThread
from stream.sinks.alerts.filter import AlertFilter
from stream.sinks.alerts.outbox import Outbox
from stream.sinks.alerts.sender import Alert, AlertSender, RejectedError, UndeliveredError
from stream.sinks.event_log.rows import as_row

_log = logging.getLogger(__name__)
_MAX_DELAY_S = 60.0
_IDLE_TIMEOUT_S = 60.0
_MAX_ANNOUNCED = 100  # cameras times labels; nobody wants more switches than that
_FLUSH_TIMEOUT_S = 5.0  # at shutdown; alerts that are still queued are left to the next run


class AlertDispatcher:
    """Delivers one alert's queue to its receiver, in order."""

    def __init__(
        self,
        name: str,
        alert_filter: AlertFilter,
        sender: AlertSender,
        outbox: Outbox,
        metrics: Metrics,
        *,
        first_delay_s: float = 1.0,
    ) -> None:
        self.name = name
        self._filter, self._sender, self._outbox = alert_filter, sender, outbox
        self._metrics = metrics
        self._backoff = Backoff(first_delay_s, _MAX_DELAY_S)
        self._problem = ""  # last one that was logged
        self._is_failing = False  # the last attempt failed
        self._is_full = False
        self._lock = threading.Lock()  # guards the filter
        self._thread = ServiceThread(
            f"alert {name}", self._run, metrics=metrics, crashes="alert_crashes"
        )

    def start(self) -> None:
        if self.queued:
            _log.info("alert %s: %d queued by the previous run", self.name, self.queued)
        self._thread.start()

    def request_stop(self) -> None:
        self._thread.request_stop()
        self._sender.wake()

    def join(self, timeout_s: float) -> bool:
        ended = self._thread.join(timeout_s)
        if ended:
            self._outbox.close()
        return ended

    @property
    def queued(self) -> int:
        return len(self._outbox)

    def announce(self, pairs: Iterable[tuple[str, str]]) -> None:
        matching = [pair for pair in pairs if self._filter.matches(*pair)]
        if len(matching) <= _MAX_ANNOUNCED:
            for camera, label in matching:
                self._sender.set_state(camera, label, on=None)
        self._sender.wake()

    def put(self, logged: LoggedEvent) -> None:
        event = logged.event
        with self._lock:
            if self._filter.matches(event.camera, event.label):
                # States ignore cooldown and notify_on, or they would be wrong.
                self._sender.set_state(event.camera, event.label, on=logged.change == "start")
            should_send = self._filter.should_send(logged)
        if should_send:
            alert = Alert(f"{event.id}-{logged.change}", logged.change, as_row(logged))
            self._count_dropped(self._outbox.put(alert))
        self._sender.wake()

    def _count_dropped(self, alert: Alert | None) -> None:
        if alert is None:
            self._is_full = False
            return
        self._metrics.count("dropped_alerts", alert.event["camera"])
        if not self._is_full:
            self._is_full = True
            _log.error(
                "alert %s: the queue is full (%d): the oldest are dropped from now on; "
                "check its receiver",
                self.name,
                self.queued,
            )

    def _run(self) -> None:
        stopping = self._thread.stopping
        try:
            while not stopping.is_set():
                self._outbox.repair()
                delay_s = self._deliver(self._outbox.oldest())
                if self._is_failing:
                    self._outbox.sync()
                stopping.wait(delay_s)
            self._flush()
        finally:
            self._sender.close()

    def _flush(self) -> None:
        """Deliver the queued alerts until one fails."""
        deadline = time.monotonic() + _FLUSH_TIMEOUT_S
        while not self._is_failing and time.monotonic() < deadline:
            alert = self._outbox.oldest()
            if alert is None:
                break
            self._deliver(alert)
        if self.queued:
            _log.warning("alert %s: %d queued for the next run", self.name, self.queued)

    def _deliver(self, alert: Alert | None) -> float:
        """Deliver an alert; None: idle. Returns the delay before the next attempt, in seconds."""
        try:
            if alert is None:
                self._sender.idle(_IDLE_TIMEOUT_S)
            else:
                self._sender.send(alert)
        except RejectedError as error:
            assert alert is not None
            self._outbox.mark_done(alert)
            self._metrics.count("rejected_alerts", alert.event["camera"])
            self._reset()
            self._log_once(f"is rejected: {error}; rejected alerts are dropped")
            return 0.0
        except UndeliveredError as error:
            self._fail(str(error))
            return 0.0 if error.is_retrying else max(self._backoff.next_s(), error.retry_after_s)
        except Exception as error:
            self._fail(_error_location(error))  # its message might contain an address
            return self._backoff.next_s()
        if alert is not None:
            self._outbox.mark_done(alert)
            self._metrics.count("alerts", alert.event["camera"])
        if self._problem and (alert is not None or self._is_failing):  # idling proves less
            self._problem = ""
            _log.warning("alert %s works again; %d queued", self.name, self.queued)
        self._reset()
        return 0.0

    def _fail(self, reason: str) -> None:
        self._is_failing = True
        self._log_once(f"can't be delivered: {reason}; retrying until it succeeds")

    def _reset(self) -> None:
        self._is_failing = False
        self._backoff.reset()

    def _log_once(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.warning("alert %s %s", self.name, problem)


def _error_location(error: Exception) -> str:
    """Type, file and line of an unexpected error, without its message."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
