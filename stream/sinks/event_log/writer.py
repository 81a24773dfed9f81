"""Writes news of events into the log, and into the journal while the log's database is away.

Its thread, "event log", is the only one that writes events, and owns the journal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from stream.messages import LoggedEvent, Recorded
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.database import EventLogError, NewsRefusedError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal, News, latest_of_each

_log = logging.getLogger(__name__)
_AT_ONCE = 1000  # news in one transaction
_LOOK_S = 0.1  # how often an injected clock is looked at


class EventWriter:
    """Brings news into the log in the order in which they were put, between `start` and the end.

    `on_written` is told of each event's news once, on the writer's thread: when they are in the
    database or in the journal, or, where the disk takes nothing either, when they are remembered
    until it does. `on_unclaimed` is told what was recorded of events that somebody deleted
    meanwhile. Counters: `journaled_events`, `log_retries`, and `lost_events` for news for which
    there was no room anywhere, or which the database refused.
    """

    def __init__(
        self,
        log: EventLog,
        journal: Journal,
        metrics: Metrics,
        *,
        on_written: Callable[[Sequence[LoggedEvent]], None] = lambda events: None,
        on_death: Callable[[str], None] = lambda reason: None,
        on_unclaimed: Callable[[Recorded], None] = lambda recorded: None,
        first_pause_s: float = 0.5,
        longest_pause_s: float = 10.0,
        most_waiting: int = 100_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._journal, self._metrics = log, journal, metrics
        self._on_written, self._on_death = on_written, on_death
        self._on_unclaimed = on_unclaimed
        self.dead = False
        self._first_pause_s, self._longest_pause_s = first_pause_s, longest_pause_s
        self._most_waiting = most_waiting
        self._now = now
        self._condition = threading.Condition()
        self._inbox: list[News] = []  # under the condition, as the next
        self._stopping = False
        self._in_hand = 0  # taken from the inbox, and not yet in the database or kept elsewhere
        self._remembered: list[News] = []  # what neither database nor journal took
        self._away = ""
        self._pause_s = first_pause_s
        self._retry_at = 0.0
        self._has_told_loss = False
        self._thread = threading.Thread(target=self._run, name="event log", daemon=True)

    @property
    def waiting(self) -> int:
        """How many news are not in the database yet."""
        return len(self._inbox) + self._in_hand + len(self._journal) + len(self._remembered)

    @property
    def away(self) -> str:
        """Why the database can't be written now; "" where it can."""
        return self._away

    def start(self) -> None:
        self._thread.start()

    def put(self, one: News) -> bool:
        """Have it written; from any thread, and without waiting. False where it is lost."""
        with self._condition:
            has_room = len(self._inbox) < self._most_waiting and not self.dead
            if has_room:
                self._inbox.append(one)
                self._condition.notify()
        if not has_room:
            self._lose(1, "the writer died" if self.dead else "too many wait to be written")
        return has_room

    def tell_stop(self) -> None:
        """What was put before is still written."""
        with self._condition:
            self._stopping = True
            self._condition.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait until all is written; False where it was not in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._away = f"the writer died: {type(error).__name__}: {error}"
            _log.exception("event log died")
            self._metrics.count("log_deaths")
            with self._condition:  # nothing comes in any more
                self.dead = True
                left = self._in_hand + len(self._inbox)
            self._lose(left, "the writer died")
            self._on_death(self._away)

    def _work(self) -> None:
        self._look_at_journal()
        self._bring(())  # what a former run left in the journal comes first
        while True:
            news, is_last = self._take()
            if news or self._is_due():
                self._bring(news)
            if is_last:
                break
        if self._away:  # once more, whenever it was tried last
            self._retry_at = self._now()
            self._bring(())
        if self._remembered:
            self._lose(len(self._remembered), "neither the database nor the journal took them")
        elif len(self._journal):
            _log.warning("%d news wait in the journal for the next run", len(self._journal))

    def _take(self) -> tuple[list[News], bool]:
        """The next news, and whether these are the last ones. Waits for some, or for a retry."""
        with self._condition:
            while not self._inbox and not self._stopping and not self._is_due():
                self._condition.wait(_LOOK_S if self._away else None)
            news = self._inbox[:_AT_ONCE]
            del self._inbox[:_AT_ONCE]
            self._in_hand = len(news)
            return news, self._stopping and not self._inbox

    def _is_due(self) -> bool:
        return bool(self._away) and self._now() >= self._retry_at

    def _bring(self, news: Sequence[News]) -> None:
        """Into the database, after all that waits for it; else where they are kept for it."""
        if not self._away or self._is_due():
            try:
                self._catch_up()
                if news:
                    self._save(news)
                self._is_back()
            except EventLogError as error:
                self._is_gone(str(error))
        if self._away:
            self._keep(news)
        self._in_hand = 0
        events = [one for one in news if isinstance(one, LoggedEvent)]
        if events:
            try:
                self._on_written(events)
            except Exception:  # it is not the log's
                _log.exception("who is told of written events failed")

    def _catch_up(self) -> None:
        if len(self._journal):
            try:
                before = self._journal.unreadable
                for run, news in self._journal.batches():
                    self._save(news, run)
            except OSError as error:
                raise EventLogError(f"the journal can't be read: {_reason(error)}") from error
            if self._journal.unreadable > before:
                self._lose(self._journal.unreadable - before, "the journal is damaged")
            self._log.close_crashed()  # what a former run left there open
            try:
                self._journal.clear()
            except OSError as error:  # no harm: what is in it is in the database, and may be again
                _log.warning("the journal can't be removed: %s", _reason(error))
        while self._remembered:
            self._save(self._remembered[:_AT_ONCE])
            del self._remembered[:_AT_ONCE]

    def _save(self, news: Sequence[News], run: str | None = None) -> None:
        try:
            self._report(self._log.save(news, run=run))
        except NewsRefusedError:  # all because of some: those alone
            for one in news:
                try:
                    self._report(self._log.save([one], run=run))
                except NewsRefusedError as error:
                    self._lose(1, str(error))

    def _report(self, unclaimed: Iterable[Recorded]) -> None:
        for one in unclaimed:
            self._on_unclaimed(one)

    def _keep(self, news: Iterable[News]) -> None:
        """In the journal; if that can't be, in memory, to which they go first to stay in order."""
        self._remembered += news
        if not self._remembered:
            return
        try:
            lost = self._journal.append(self._remembered, self._log.run)
            self._metrics.count("journaled_events", by=len(self._remembered) - lost)
            self._remembered = []
            if lost:
                self._lose(lost, "the journal is full")
        except OSError as error:
            if len(self._remembered) > self._most_waiting:
                self._remembered = latest_of_each(self._remembered)
                lost = len(self._remembered) - self._most_waiting
                del self._remembered[self._most_waiting :]
                if lost > 0:
                    self._lose(lost, f"the journal can't be written: {_reason(error)}")

    def _look_at_journal(self) -> None:
        try:
            self._journal.look()
        except OSError as error:
            _log.error("the journal can't be read: %s", _reason(error))

    def _is_gone(self, reason: str) -> None:
        if self._away:
            self._metrics.count("log_retries")
            self._pause_s = min(2 * self._pause_s, self._longest_pause_s)
        else:
            _log.error("events are kept for later: %s", reason)
            self._pause_s = self._first_pause_s
        self._away = reason
        self._retry_at = self._now() + self._pause_s

    def _is_back(self) -> None:
        if self._away:
            _log.warning("the event log is written again, with all that was kept for it")
        self._away, self._has_told_loss = "", False

    def _lose(self, count: int, reason: str) -> None:
        self._metrics.count("lost_events", by=count)
        if not self._has_told_loss:  # once until it works again
            self._has_told_loss = True
            _log.error("news of events are lost: %s", reason)


def _reason(error: OSError) -> str:
    return f"{error.strerror or error}"
