"""What becomes of a run's events: log, clips, scores, alerts, publication.

Owns no thread itself; it starts and stops those of its parts.
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
from stream.messages import ClipSpec, LoggedEvent, Prediction, Recorded
from stream.runtime.metrics import Metrics
from stream.sinks.alerts.alerts import Alerts
from stream.sinks.clips.recorder import Recorder
from stream.sinks.disk_guard import DiskGuard
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.writer import EventWriter
from stream.sinks.publisher import Publisher
from stream.sinks.retention import Keeper, forget_recorded, sweep
from stream.sinks.score_log import ScoreLog

_LARGEST_SPAN_S = 13.0  # of the published models, and a little


class _Part(Protocol):
    def start(self) -> None: ...

    def tell_stop(self) -> None: ...

    def join(self, timeout_s: float) -> bool: ...


class Keeping:
    """Takes events from the judge, and brings them to all that want them.

    Whoever is told of an event is told when it is safely written. `on_written` is called with each
    of them, on the event log's thread; `on_death` with a reason, if that thread dies. Without
    `prunes` nothing is removed because of its age or size.
    Raises EventLogError, TransportError or RecorderError for what can't work from the start.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        *,
        on_written: Callable[[LoggedEvent], None],
        on_death: Callable[[str], None],
        prunes: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._on_written = on_written
        self._spec: ClipSpec | None = None
        self._told = self._written = 0  # events that the judge told of, and that were written
        folder, retention = config.data, config.retention
        with ExitStack() as undo:
            self.log = EventLog.create(folder, config.database)
            undo.callback(self.log.close)
            sweep(self.log, folder, self.log.former_start)
            self._guard = DiskGuard(folder, retention.keep_free, metrics, now=now)
            self._writer = EventWriter(
                self.log,
                Journal(folder),
                metrics,
                on_written=self._pass_on,
                on_death=on_death,
                on_unclaimed=partial(forget_recorded, folder),
                now=now,
            )
            self._keeper = Keeper(self.log, folder, retention) if prunes else None
            self._alerts = Alerts(config.alerts, folder, metrics)
            self._publisher = Publisher(config.publish, metrics) if config.publish else None
            self._recorder = (
                Recorder(
                    folder,
                    config.recording,
                    metrics,
                    on_recorded=self._take_recorded,
                    allowed=lambda: self._guard.clips,
                    detected_within_s=_detected_within_s(config.events),
                    set_back_s=_set_back_s(config.events),
                    now=now,
                )
                if config.recording.enabled
                else None
            )
            undo.pop_all()
        # In the order in which they stop, with the seconds that they get for it at least.
        parts: tuple[tuple[str, _Part | None, float], ...] = (
            ("recorder", self._recorder, 2.0),  # clips are made whole
            ("event log", self._writer, 3.0),
            ("retention", self._keeper, 0.1),
            ("alerts", self._alerts, 1.0),
            ("publisher", self._publisher, 0.1),
        )
        self._parts = [(name, part, at_least_s) for name, part, at_least_s in parts if part]
        self._running: set[str] = set()

    def start(self, cameras: Iterable[Camera]) -> None:
        """Start from right to left, so that whoever is told of something is there.

        Raises TransportError where predictions can't be published as they should be, and
        RecorderError where clips can't be written; `join` stops what was started.
        """
        if self._recorder:
            for camera in cameras:
                self._recorder.watch(camera.name, camera.picture)
        for name, part, _ in reversed(self._parts):
            part.start()
            self._running.add(name)

    def expect(self, spec: ClipSpec, streams: Iterable[str], gap_s: float) -> ScoreLog | None:
        """What events may come. Returns where the scores of this run are kept, if they are."""
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
            allowed=lambda: self._guard.scores,
        )

    def exchange(self, gone: Iterable[Camera], new: Iterable[Camera]) -> None:
        """Cameras have gone, with all that there was to say of them, and others have come."""
        if self._recorder:
            for camera in gone:
                self._recorder.unwatch(camera.name)
            for camera in new:
                self._recorder.watch(camera.name, camera.picture)
        if self._spec is not None:
            self._announce([one.name for camera in new for one in camera.streams], self._spec)

    def heed(self, events: EventsConfig, retention: RetentionConfig) -> None:
        """Keep to other thresholds, and keep things for other times. Any thread may call it."""
        self._guard.keep(retention.keep_free)
        if self._keeper:
            self._keeper.heed(retention)
        if self._recorder:
            self._recorder.heed(
                detected_within_s=_detected_within_s(events), set_back_s=_set_back_s(events)
            )

    def take(self, logged: LoggedEvent) -> None:
        """News of an event. From the judge's thread; never blocks."""
        if self._recorder:
            self._recorder.follow(logged.event)
        self._told += self._writer.put(logged)

    def show(self, prediction: Prediction) -> None:
        """A prediction, for other programs."""
        if self._publisher:
            self._publisher.put_prediction(prediction)

    @property
    def settled(self) -> bool:
        """Whether all that was told is safely written, and was passed on."""
        return self._written >= self._told or self._writer.dead

    @property
    def in_log(self) -> bool:
        """Whether all of that is in the database itself, and not in a journal or in memory."""
        return self.settled and self._writer.waiting == 0

    @property
    def away(self) -> str:
        """Why the event log's database can't be written now; "" where it can."""
        return self._writer.away

    @property
    def queues(self) -> dict[str, int]:
        """What waits now, by name."""
        return {"events": self._writer.waiting, **self._alerts.queues}

    def join(self, await_: Callable[[str, Callable[[float], bool], float], bool]) -> None:
        """Stop from left to right, so that nothing is lost on the way.

        `await_` is given what to wait for, how, and for how long at least, in seconds.
        """
        ended = True
        for name, part, at_least_s in self._parts:
            if name in self._running:
                part.tell_stop()
                ended &= await_(name, part.join, at_least_s)
        if ended:  # else the folder's lock is held until the process ends
            self.log.close()

    def _announce(self, streams: Iterable[str], spec: ClipSpec) -> None:
        self._alerts.announce(streams, [one for one in spec.labels if one not in spec.background])

    # On the recorder's thread.
    def _take_recorded(self, recorded: Recorded) -> None:
        self._writer.put(recorded)

    # On the event log's thread.
    def _pass_on(self, written: Sequence[LoggedEvent]) -> None:
        try:
            for logged in written:
                self._alerts.put(logged)
                if self._publisher:
                    self._publisher.put_event(logged)
                self._on_written(logged)
        finally:
            self._written += len(written)


def _detected_within_s(policy: EventsConfig) -> float:
    """How long after its start an event is noticed: so long its pre-roll must be kept."""
    minimum = max(policy.policy(label).minimum for label in ("", *policy.labels))
    return _LARGEST_SPAN_S + minimum + 5 * policy.smoothing


def _set_back_s(policy: EventsConfig) -> float:
    """By how much the end of an event that goes on may be set back, when it is over."""
    lowest = min(policy.policy(label).leave for label in ("", *policy.labels))
    return max(1.0, policy.smoothing * math.log(1 / max(lowest, 0.05)))
