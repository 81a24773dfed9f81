"""Writes event updates to the log, and to the journal while the log's database is unavailable.

Its thread, "event log", is the only one that writes events, and uses the journal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from stream.messages import EventMedia, LoggedEvent
from stream.runtime.errors import reason_of
from stream.runtime.metrics import Metrics
from stream.runtime.service import Backoff, ServiceThread
from stream.sinks.event_log.database import EventLogError, RejectedUpdateError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import EventUpdate, Journal, latest_per_event

_log = logging.getLogger(__name__)
_BATCH_SIZE = 1000  # updates in one transaction
_POLL_INTERVAL_S = 0.1  # for retries, as the clock is injected


class WriterListener(Protocol):
    """Called on the writer's thread."""

    def on_written(self, logged: LoggedEvent) -> None:
        """An event update is in the database or in the journal, or, if the disk is full too, in
        memory."""

    def on_orphaned_media(self, media: EventMedia) -> None:
        """The media of an event that was deleted in the meantime."""

    def on_crash(self, reason: str) -> None:
        """Nothing more is written."""


class EventWriter:
    """Writes updates to the log in the order in which they were put, from `start` to the stop.

    Counters: `journaled_events`, `log_retries`, and `lost_events` for updates that fit nowhere or
    that the database rejected.
    """

    name = "event log"
    min_stop_s: float = 3.0  # minimum timeout of `join`

    def __init__(
        self,
        log: EventLog,
        journal: Journal,
        metrics: Metrics,
        *,
        listener: WriterListener | None = None,
        min_retry_delay_s: float = 0.5,
        max_retry_delay_s: float = 10.0,
        max_pending: int = 100_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._journal, self._metrics = log, journal, metrics
        self._listener = listener
        self._backoff = Backoff(min_retry_delay_s, max_retry_delay_s)
        self._max_pending = max_pending
        self._now = now
        self._condition = threading.Condition()
        self._inbox: list[EventUpdate] = []  # guarded by the condition
        self._in_flight = 0  # updates that left the inbox and are not stored anywhere yet
        self._memory_backlog: list[EventUpdate] = []  # neither database nor journal accepted them
        self.unavailable_reason = ""  # why the database can't be written now; "" if it can
        self._retry_at = 0.0
        self._loss_logged = False
        self._corrupted = 0  # parts of the journal, counted so far
        self._thread = ServiceThread(
            self.name, self._work, metrics=metrics, crashes="log_crashes", on_crash=self._crashed
        )

    @property
    def pending(self) -> int:
        """The number of updates that are not in the database yet."""
        return len(self._inbox) + self._in_flight + len(self._journal) + len(self._memory_backlog)

    @property
    def is_dead(self) -> bool:
        """Whether the thread crashed: nothing more is accepted."""
        return bool(self._thread.crash)

    def start(self) -> None:
        self._thread.start()

    def put(self, update: EventUpdate) -> bool:
        """Queue an update; any thread may call it, it never blocks. False if the update is lost."""
        with self._condition:
            accepted = len(self._inbox) < self._max_pending and not self.is_dead
            if accepted:
                self._inbox.append(update)
                self._condition.notify()
        if not accepted:
            self._count_lost(1, "the writer crashed" if self.is_dead else "the queue is full")
        return accepted

    def request_stop(self) -> None:
        """Updates that were put before are still written."""
        with self._condition:
            self._thread.request_stop()
            self._condition.notify()

    def join(self, timeout_s: float) -> bool:
        ended = self._thread.join(timeout_s)
        if ended:
            self._journal.close()
        return ended

    def _crashed(self, reason: str) -> None:
        self.unavailable_reason = reason
        with self._condition:  # `put` accepts nothing more
            lost = self._in_flight + len(self._inbox)
        self._count_lost(lost, "the writer crashed")
        if self._listener is not None:
            self._listener.on_crash(reason)

    def _work(self) -> None:
        self._recover_journal()
        self._write(())  # first what an earlier run left in the journal
        while True:
            updates, is_last = self._next_batch()
            if updates or self._retry_is_due():
                self._write(updates)
            if is_last:
                break
        if self.unavailable_reason:  # a last attempt, without the retry delay
            self._retry_at = self._now()
            self._write(())
        if self._memory_backlog:
            self._count_lost(
                len(self._memory_backlog), "neither the database nor the journal accepted them"
            )
        elif len(self._journal):
            _log.warning("%d updates stay in the journal for the next run", len(self._journal))

    def _next_batch(self) -> tuple[list[EventUpdate], bool]:
        """Waits for updates or a retry. Returns the next updates, and whether they are the last."""
        with self._condition:
            stopping = self._thread.stopping
            while not self._inbox and not stopping.is_set() and not self._retry_is_due():
                self._condition.wait(_POLL_INTERVAL_S if self.unavailable_reason else None)
            updates = self._inbox[:_BATCH_SIZE]
            self._in_flight = len(updates)  # first, so that `pending` counts each at any moment
            del self._inbox[:_BATCH_SIZE]
            return updates, stopping.is_set() and not self._inbox

    def _retry_is_due(self) -> bool:
        return bool(self.unavailable_reason) and self._now() >= self._retry_at

    def _write(self, updates: Sequence[EventUpdate]) -> None:
        """Write to the database, after the backlog; if that fails, to the journal or memory."""
        if not self.unavailable_reason or self._retry_is_due():
            try:
                self._write_backlog()
                if updates:
                    self._save(updates)
                self._set_available()
            except EventLogError as error:
                self._set_unavailable(str(error))
        if self.unavailable_reason:
            self._write_to_journal(updates)
        self._in_flight = 0
        for update in updates:
            if isinstance(update, LoggedEvent) and self._listener is not None:
                try:
                    self._listener.on_written(update)
                except Exception:  # a receiver's error must not stop the log
                    _log.exception("on_written failed")

    def _write_backlog(self) -> None:
        if len(self._journal):
            try:
                for run, updates in self._journal.batches():
                    self._save(updates, run)
            except OSError as error:
                raise EventLogError(f"the journal can't be read: {reason_of(error)}") from error
            self._log.close_crashed()  # events that an earlier run left open in the journal
            try:
                self._journal.clear()
            except OSError as error:  # harmless: the database has its updates, twice at worst
                _log.warning("the journal can't be deleted: %s", reason_of(error))
        self._count_corrupted()
        while self._memory_backlog:
            self._save(self._memory_backlog[:_BATCH_SIZE])
            del self._memory_backlog[:_BATCH_SIZE]

    def _save(self, updates: Sequence[EventUpdate], run: str | None = None) -> None:
        try:
            self._report_orphans(self._log.write_updates(updates, run=run))
        except RejectedUpdateError:  # retry one by one, to lose only the rejected ones
            for update in updates:
                try:
                    self._report_orphans(self._log.write_updates([update], run=run))
                except RejectedUpdateError as error:
                    self._count_lost(1, str(error))

    def _report_orphans(self, orphaned_media: Iterable[EventMedia]) -> None:
        for media in orphaned_media:
            if self._listener is not None:
                self._listener.on_orphaned_media(media)

    def _write_to_journal(self, updates: Iterable[EventUpdate]) -> None:
        """Append to the journal, through the memory backlog to keep the order."""
        self._memory_backlog += updates
        if not self._memory_backlog:
            return
        try:
            lost = self._journal.append(self._memory_backlog, self._log.run)
            self._metrics.count("journaled_events", by=len(self._memory_backlog) - lost)
            self._memory_backlog = []
            if lost:
                self._count_lost(lost, "the journal is full")
        except OSError as error:
            if len(self._memory_backlog) > self._max_pending:
                self._memory_backlog = latest_per_event(self._memory_backlog)
                lost = len(self._memory_backlog) - self._max_pending
                del self._memory_backlog[self._max_pending :]
                if lost > 0:
                    self._count_lost(lost, f"the journal can't be written: {reason_of(error)}")

    def _recover_journal(self) -> None:
        try:
            self._journal.recover()
        except OSError as error:
            _log.error("the journal can't be read: %s", reason_of(error))

    def _count_corrupted(self) -> None:
        new = self._journal.corrupted - self._corrupted
        if new:
            self._corrupted += new
            self._count_lost(new, "the journal is corrupted")

    def _set_unavailable(self, reason: str) -> None:
        if self.unavailable_reason:
            self._metrics.count("log_retries")
        else:
            _log.error("event log unavailable, updates go to the journal: %s", reason)
            self._backoff.reset()
        self.unavailable_reason = reason
        self._retry_at = self._now() + self._backoff.next_s()

    def _set_available(self) -> None:
        if self.unavailable_reason:
            _log.warning("event log available again; all journaled updates are written")
        self.unavailable_reason, self._loss_logged = "", False

    def _count_lost(self, count: int, reason: str) -> None:
        self._metrics.count("lost_events", by=count)
        if not self._loss_logged:  # once until the log works again
            self._loss_logged = True
            _log.error("event updates lost: %s", reason)
