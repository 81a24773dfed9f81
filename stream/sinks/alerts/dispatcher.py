"""Courier: brings the alerts that wait to their receiver, in order. Its thread owns the sender."""

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
from stream.sinks.alerts.sender import Alert, RefusedError, Sender, UndeliveredError
from stream.sinks.event_log.rows import as_row

_log = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 60.0
_REST_S = 60.0
_MOST_ANNOUNCED = 100  # cameras times labels; of more, nobody wants a switch for each
_LAST_TRIES_S = 5.0  # for what waits when the run ends; the rest is for the next run


class Courier:
    """Brings one alert's queue to its receiver, in order."""

    def __init__(
        self,
        name: str,
        which: AlertFilter,
        to: Sender,
        outbox: Outbox,
        metrics: Metrics,
        *,
        first_pause_s: float = 1.0,
    ) -> None:
        self.name = name
        self._filter, self._sender, self._outbox, self._metrics = which, to, outbox, metrics
        self._first_pause_s = first_pause_s
        self._pauses = pauses(first_pause_s)
        self._trouble = ""  # what was said last of why it does not work
        self._fails = False  # the last try
        self._is_full = False
        self._lock = threading.Lock()  # of the filter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alert {name}", daemon=True)

    def start(self) -> None:
        if self.waiting:
            _log.info("alert %s: %d wait from before", self.name, self.waiting)
        self._thread.start()

    def tell_stop(self) -> None:
        self._stop.set()
        self._sender.wake()

    def join(self, timeout_s: float) -> bool:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def waiting(self) -> int:
        return len(self._outbox)

    def announce(self, pairs: Iterable[tuple[str, str]]) -> None:
        wanted = [pair for pair in pairs if self._filter.concerns(*pair)]
        if len(wanted) <= _MOST_ANNOUNCED:
            for camera, label in wanted:
                self._sender.show(camera, label, on=None)
        self._sender.wake()

    def put(self, logged: LoggedEvent) -> None:
        event = logged.event
        with self._lock:
            if self._filter.concerns(event.camera, event.label):
                # States know no cool-down, and both sides: else they would be wrong.
                self._sender.show(event.camera, event.label, on=logged.change == "start")
            wanted = self._filter.wants(logged)
        if wanted:
            alert = Alert(f"{event.id}-{logged.change}", logged.change, as_row(logged))
            self._dropped(self._outbox.put(alert))
        self._sender.wake()

    def _dropped(self, alert: Alert | None) -> None:
        if alert is None:
            self._is_full = False
            return
        self._metrics.count("dropped_alerts", alert.event["camera"])
        if not self._is_full:
            self._is_full = True
            _log.error(
                "alert %s: %d wait, and no more are kept: the oldest are dropped from now on; "
                "its receiver does not work",
                self.name,
                self.waiting,
            )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._outbox.tidy()
                pause_s = self._try(self._outbox.oldest())
                if pause_s:
                    self._outbox.sync()
                    self._stop.wait(pause_s)
            self._finish()
        except Exception:
            _log.exception("alert %s died; what waits is kept for the next run", self.name)
            self._metrics.count("alert_deaths")
        finally:
            self._sender.close()

    def _finish(self) -> None:
        """Deliver what waits if that works at once."""
        until = time.monotonic() + _LAST_TRIES_S
        while not self._fails and time.monotonic() < until:
            alert = self._outbox.oldest()
            if alert is None:
                break
            self._try(alert)
        if self.waiting:
            _log.warning("alert %s: %d wait for the next run", self.name, self.waiting)

    def _try(self, alert: Alert | None) -> float:
        """Deliver an alert, or rest where there is none. How long to pause before the next try."""
        try:
            if alert is None:
                self._sender.rest(_REST_S)
            else:
                self._sender.send(alert)
        except RefusedError as error:
            assert alert is not None
            self._outbox.done(alert)
            self._metrics.count("refused_alerts", alert.event["camera"])
            self._reached()
            self._say(f"is refused: {error}; what is refused is dropped")
            return 0.0
        except Exception as error:
            is_expected = isinstance(error, UndeliveredError)
            # What else something says might show an address.
            reason = str(error) if is_expected else _where(error)
            self._fails = True
            self._say(f"can't be delivered: {reason}; it is tried again until it works")
            return max(next(self._pauses), getattr(error, "after_s", 0.0))
        if alert is not None:
            self._outbox.done(alert)
            self._metrics.count("alerts", alert.event["camera"])
        if self._trouble and (alert is not None or self._fails):  # resting proves less
            self._trouble = ""
            _log.warning("alert %s works again; %d wait", self.name, self.waiting)
        self._reached()
        return 0.0

    def _reached(self) -> None:
        if self._fails:
            self._fails, self._pauses = False, pauses(self._first_pause_s)

    def _say(self, trouble: str) -> None:
        """Log what is wrong, once."""
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("alert %s %s", self.name, trouble)


def pauses(
    first_s: float, *, between: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Ever longer pauses between tries, with some chance in them: many must not come at once."""
    pause_s = first_s
    while True:
        yield between(0.75, 1.25) * pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _where(error: Exception) -> str:
    """What broke in which line, where nobody expected it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"
