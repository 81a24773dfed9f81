"""The sinks of a run: the event log, and what is registered in SINKS.

Owns no thread; it starts and stops the sinks that do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import datetime

from stream.capture.camera import Camera
from stream.config.config import Config
from stream.messages import ClipSpec, EventMedia, LoggedEvent, Prediction
from stream.runtime.metrics import Metrics
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.crash_cleanup import clean_up_after_crash
from stream.sinks.data_files import delete_media
from stream.sinks.disk_guard import DiskGuard
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.writer import EventWriter

_log = logging.getLogger(__name__)


class EventSinks:
    """Receives predictions and events from the event processor, and passes them to all sinks.

    `more` are sinks in addition to the registered ones. `on_failure` is called with a reason if the
    event log's thread crashes. In a scan nothing is deleted for its age or size.
    Raises EventLogError, or the error of a sink, for a setup that can't work.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        *,
        on_failure: Callable[[str], None],
        more: Iterable[EventSink] = (),
        is_scan: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._metrics = config.data, metrics
        self.on_crash = on_failure  # of the event log's thread
        self._accepted = self._written = 0  # event updates
        self._failed: set[str] = set()  # names of sinks whose errors were logged
        with ExitStack() as undo:
            self.log = EventLog.create(config.data, config.database)
            undo.callback(self.log.close)
            journal = Journal(config.data)
            undo.callback(journal.close)
            clean_up_after_crash(self.log, journal, config.data, self.log.previous_start)
            self._guard = DiskGuard(config.data, config.retention.keep_free, metrics, now=now)
            self._writer = EventWriter(self.log, journal, metrics, listener=self, now=now)
            context = SinkContext(
                config, config.data, metrics, self.log, self._writer, self._guard, is_scan, now
            )
            made = [make(context) for make in SINKS.values()]
            self._sinks = [*(sink for sink in made if sink is not None), *more]
            undo.pop_all()
        self._running: list[EventSink | EventWriter] = []  # in the order of their start

    def start(self, cameras: Sequence[Camera]) -> None:
        """Start downstream sinks first, so that each one finds its receivers running.

        Raises the error of a sink that can't start; `join` stops those that were started.
        """
        self.on_cameras((), cameras)
        sources = [sink for sink in self._sinks if sink.feeds_log]
        receivers = [sink for sink in self._sinks if not sink.feeds_log]
        parts: list[EventSink | EventWriter] = [*receivers, self._writer, *sources]
        for part in parts:
            part.start()
            self._running.append(part)

    def join(self, wait: Callable[[str, Callable[[float], bool], float], bool]) -> None:
        """Stop upstream sinks first, so that no event is lost on its way.

        `wait(name, join, min_timeout_s)` joins a thread and returns whether it ended in time.
        """
        ended = True
        for part in reversed(self._running):
            part.request_stop()
            ended &= wait(part.name, part.join, part.min_stop_s)
        if ended:  # else the folder stays locked until the process ends
            self.log.close()

    def update_config(self, config: Config) -> None:
        """Apply other thresholds and limits. Any thread may call it."""
        self._guard.set_min_free(config.retention.keep_free)
        self._each(lambda sink: sink.update_config(config))

    def on_model(self, spec: ClipSpec, streams: Sequence[str]) -> None:
        self._each(lambda sink: sink.on_model(spec, streams))

    # On the event processor's thread; they never block. See EventSink.
    def on_event(self, logged: LoggedEvent) -> None:
        self._each(lambda sink: sink.on_event(logged))
        self._accepted += self._writer.put(logged)

    def on_prediction(self, prediction: Prediction, end_utc: datetime) -> None:
        self._each(lambda sink: sink.on_prediction(prediction, end_utc))

    def on_gap(self, stream: str, end_s: float, end_utc: datetime) -> None:
        self._each(lambda sink: sink.on_gap(stream, end_s, end_utc))

    def on_camera_finished(self, camera: Camera) -> None:
        self._each(lambda sink: sink.on_camera_finished(camera))

    def on_cameras(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        self._each(lambda sink: sink.on_cameras(removed, added))

    # On the event log's thread.
    def on_written(self, logged: LoggedEvent) -> None:
        self._each(lambda sink: sink.on_written(logged))
        self._written += 1

    def on_orphaned_media(self, media: EventMedia) -> None:
        delete_media(self._folder, media)

    @property
    def flushed(self) -> bool:
        """Whether all event updates so far are safely written and forwarded."""
        return self._written >= self._accepted or self._writer.is_dead

    @property
    def in_database(self) -> bool:
        """Whether they all are in the database itself, and none in the journal or in memory."""
        return self.flushed and self._writer.pending == 0

    @property
    def log_unavailable_reason(self) -> str:
        """Why the event log's database can't be written now; "" if it can."""
        return self._writer.unavailable_reason

    @property
    def queues(self) -> dict[str, int]:
        queues = {"events": self._writer.pending}
        for sink in self._sinks:
            queues |= sink.queues
        return queues

    def _each(self, call: Callable[[EventSink], None]) -> None:
        """Call a method of each sink. The error of one does not stop the others, or the run."""
        for sink in self._sinks:
            try:
                call(sink)
            except Exception:
                self._metrics.count("sink_errors")
                if sink.name not in self._failed:
                    self._failed.add(sink.name)
                    _log.exception("sink %s failed; its later errors are only counted", sink.name)
