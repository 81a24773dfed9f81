"""AlertDispatcher: delivers queued alerts to a receiver, in order. Its thread owns the sender."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from stream.messages import LoggedEvent
from stream.runtime.metrics import Metrics
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
        self._first_delay_s = first_delay_s
        self._delays = retry_delays(first_delay_s)
        self._problem = ""  # last one that was logged
        self._is_failing = False  # the last attempt failed
        self._is_full = False
        self._lock = threading.Lock()  # guards the filter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alert {name}", daemon=True)

    def start(self) -> None:
        if self.queued:
            _log.info("alert %s: %d queued by the previous run", self.name, self.queued)
        self._thread.start()

    def request_stop(self) -> None:
        self._stop.set()
        self._sender.wake()

    def join(self, timeout_s: float) -> bool:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

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
        try:
            while not self._stop.is_set():
                self._outbox.compact()
                delay_s = self._deliver(self._outbox.oldest())
                if delay_s:
                    self._outbox.sync()
                    self._stop.wait(delay_s)
            self._flush()
        except Exception:
            _log.exception("alert %s crashed; its queue is stored for the next run", self.name)
            self._metrics.count("alert_crashes")
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
            self._reset_delays()
            self._log_once(f"is rejected: {error}; rejected alerts are dropped")
            return 0.0
        except Exception as error:
            is_expected = isinstance(error, UndeliveredError)
            # The message of an unexpected error might contain an address.
            reason = str(error) if is_expected else _error_location(error)
            self._is_failing = True
            self._log_once(f"can't be delivered: {reason}; retrying until it succeeds")
            return max(next(self._delays), getattr(error, "retry_after_s", 0.0))
        if alert is not None:
            self._outbox.mark_done(alert)
            self._metrics.count("alerts", alert.event["camera"])
        if self._problem and (alert is not None or self._is_failing):  # idling proves less
            self._problem = ""
            _log.warning("alert %s works again; %d queued", self.name, self.queued)
        self._reset_delays()
        return 0.0

    def _reset_delays(self) -> None:
        if self._is_failing:
            self._is_failing, self._delays = False, retry_delays(self._first_delay_s)

    def _log_once(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.warning("alert %s %s", self.name, problem)


def retry_delays(
    first_s: float, *, uniform: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Exponential backoff with jitter, in seconds, so that not all clients retry at once."""
    delay_s = first_s
    while True:
        yield uniform(0.75, 1.25) * delay_s
        delay_s = min(2 * delay_s, _MAX_DELAY_S)


def _error_location(error: Exception) -> str:
    """Type, file and line of an unexpected error, without its message."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"
