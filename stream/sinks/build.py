"""The sinks of a run's events: log, clips, scores, alerts, publisher, retention.

Owns no thread; it starts and stops the sinks that do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol

from stream.capture.camera import Camera
from stream.config.config import Config
from stream.config.events import EventsConfig, RetentionConfig
from stream.messages import ClipSpec, EventMedia, LoggedEvent, Prediction
from stream.runtime.metrics import Metrics
from stream.sinks.alerts.alerts import Alerts
from stream.sinks.clips.recorder import Recorder
from stream.sinks.disk_guard import DiskGuard
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.writer import EventWriter
from stream.sinks.publisher import Publisher
from stream.sinks.retention import RetentionThread, clean_up_after_crash, delete_media
from stream.sinks.score_log import ScoreLog

_MAX_SPAN_S = 13.0  # a little more than the longest clip of the published models


class _Service(Protocol):
    def start(self) -> None: ...

    def request_stop(self) -> None: ...

    def join(self, timeout_s: float) -> bool: ...


class EventSinks:
    """Receives predictions and events from the event processor, and passes them to all sinks.

    Alerts, the publisher and `on_written` get an event after it is safely written. `on_written` is
    called with each such event on the event log's thread; `on_crash` with a reason, if that thread
    crashes. Without `apply_retention` nothing is deleted for its age or size.
    Raises EventLogError, TransportError or RecorderError for a setup that can't work.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        *,
        on_written: Callable[[LoggedEvent], None],
        on_crash: Callable[[str], None],
        apply_retention: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._on_written = on_written
        self._spec: ClipSpec | None = None
        self._accepted = self._written = 0  # event updates
        folder, retention = config.data, config.retention
        with ExitStack() as undo:
            self.log = EventLog.create(folder, config.database)
            undo.callback(self.log.close)
            journal = Journal(folder)
            undo.callback(journal.close)
            clean_up_after_crash(self.log, journal, folder, self.log.previous_start)
            self._guard = DiskGuard(folder, retention.keep_free, metrics, now=now)
            self._writer = EventWriter(
                self.log,
                journal,
                metrics,
                on_written=self._forward,
                on_crash=on_crash,
                on_orphaned_media=partial(delete_media, folder),
                now=now,
            )
            self._retention = (
                RetentionThread(self.log, folder, retention) if apply_retention else None
            )
            self._alerts = Alerts(config.alerts, folder, metrics)
            self._publisher = Publisher(config.publish, metrics) if config.publish else None
            self._recorder = (
                Recorder(
                    folder,
                    config.recording,
                    metrics,
                    on_media=self._on_media,
                    allowed=lambda: self._guard.clips_allowed,
                    max_detection_delay_s=_max_detection_delay_s(config.events),
                    max_end_shift_s=_max_end_shift_s(config.events),
                    now=now,
                )
                if config.recording.enabled
                else None
            )
            undo.pop_all()
        # In stop order, each with its minimum stop timeout in seconds.
        services: tuple[tuple[str, _Service | None, float], ...] = (
            ("recorder", self._recorder, 2.0),  # finishes open clips
            ("event log", self._writer, 3.0),
            ("retention", self._retention, 0.1),
            ("alerts", self._alerts, 1.0),
            ("publisher", self._publisher, 0.1),
        )
        self._services = [
            (name, service, timeout_s) for name, service, timeout_s in services if service
        ]
        self._running: set[str] = set()

    def start(self, cameras: Iterable[Camera]) -> None:
        """Start downstream sinks first, so that each one finds its receivers running.

        Raises TransportError if the publisher can't bind its address, RecorderError if clips can't
        be written; `join` stops what was started.
        """
        if self._recorder:
            for camera in cameras:
                self._recorder.add_camera(camera.name, camera.latest_frame)
        for name, service, _ in reversed(self._services):
            service.start()
            self._running.add(name)

    def on_model(self, spec: ClipSpec, streams: Iterable[str], gap_s: float) -> ScoreLog | None:
        """The model is known. Returns this run's score log, None if scores are not stored."""
        self._spec = spec
        self._announce(streams, spec)
        if not self._config.retention.scores:
            return None
        return ScoreLog(
            self._config.data,
            self.log.run,
            spec,
            self._metrics,
            gap_s=gap_s,
            allowed=lambda: self._guard.scores_allowed,
        )

    def on_cameras(self, removed: Iterable[Camera], added: Iterable[Camera]) -> None:
        """Cameras were removed, after their last events, and others added."""
        if self._recorder:
            for camera in removed:
                self._recorder.remove_camera(camera.name)
            for camera in added:
                self._recorder.add_camera(camera.name, camera.latest_frame)
        if self._spec is not None:
            self._announce(
                [stream.name for camera in added for stream in camera.streams], self._spec
            )

    def update_config(self, events: EventsConfig, retention: RetentionConfig) -> None:
        """Apply other thresholds and limits. Any thread may call it."""
        self._guard.set_min_free(retention.keep_free)
        if self._retention:
            self._retention.update_config(retention)
        if self._recorder:
            self._recorder.update_config(
                max_detection_delay_s=_max_detection_delay_s(events),
                max_end_shift_s=_max_end_shift_s(events),
            )

    def on_event(self, logged: LoggedEvent) -> None:
        """An event update, on the event processor's thread; never blocks."""
        if self._recorder:
            self._recorder.on_event(logged.event)
        self._accepted += self._writer.put(logged)

    def on_prediction(self, prediction: Prediction) -> None:
        """A prediction, for the publisher."""
        if self._publisher:
            self._publisher.put_prediction(prediction)

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
        """Queue lengths by name."""
        return {"events": self._writer.pending, **self._alerts.queues}

    def join(self, wait: Callable[[str, Callable[[float], bool], float], bool]) -> None:
        """Stop upstream sinks first, so that no event is lost on its way.

        `wait(name, join, min_timeout_s)` joins a thread and returns whether it ended in time.
        """
        ended = True
        for name, service, min_timeout_s in self._services:
            if name in self._running:
                service.request_stop()
                ended &= wait(name, service.join, min_timeout_s)
        if ended:  # else the folder stays locked until the process ends
            self.log.close()

    def _announce(self, streams: Iterable[str], spec: ClipSpec) -> None:
        self._alerts.announce(
            streams, [label for label in spec.labels if label not in spec.background]
        )

    # On the recorder's thread.
    def _on_media(self, media: EventMedia) -> None:
        self._writer.put(media)

    # On the event log's thread.
    def _forward(self, written: Sequence[LoggedEvent]) -> None:
        try:
            for logged in written:
                self._alerts.put(logged)
                if self._publisher:
                    self._publisher.put_event(logged)
                self._on_written(logged)
        finally:
            self._written += len(written)


def _max_detection_delay_s(policy: EventsConfig) -> float:
    """Maximum delay from an event's start to its detection; its pre-roll stays buffered so long."""
    min_duration = max(policy.policy(label).min_duration for label in ("", *policy.labels))
    return _MAX_SPAN_S + min_duration + 5 * policy.smoothing


def _max_end_shift_s(policy: EventsConfig) -> float:
    """By how much the end of an open event may move back when the event closes."""
    release = min(policy.policy(label).release_threshold for label in ("", *policy.labels))
    return max(1.0, policy.smoothing * math.log(1 / max(release, 0.05)))
