"""What becomes of a run's events: log, clips, scores, alerts, publication.

Owns no thread itself; it starts and stops those of its parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from stream.alerts import Alerts
from stream.capture import Camera
from stream.config import Config
from stream.disk_guard import DiskGuard
from stream.event_log import EventLog
from stream.event_writer import EventWriter
from stream.journal import Journal
from stream.keeping_config import EventsConfig
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.metrics import Metrics
from stream.publisher import Publisher
from stream.recorder import Recorder
from stream.retention import Keeper, sweep
from stream.score_log import ScoreLog

_LARGEST_SPAN_S = 13.0  # of the published models, and a little


class Keeping:
    """Takes events from the judge, and brings them to all that want them.

    Whoever is told of an event is told when it is safely written. `on_written` is called with each
    of them, on the event log's thread.
    Raises EventLogError or TransportError for what can't work from the start.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        *,
        on_written: Callable[[LoggedEvent], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._on_written = on_written
        self._told = self._written = 0  # events that the judge told of, and that were written
        self._started = False
        folder, retention = config.data, config.retention
        with ExitStack() as undo:
            self.log = EventLog.create(folder, config.database)
            undo.callback(self.log.close)
            sweep(self.log, folder, self.log.former_start)
            self._guard = DiskGuard(folder, retention.keep_free, metrics, now=now)
            self._writer = EventWriter(
                self.log, Journal(folder), metrics, on_written=self._pass_on, now=now
            )
            self._keeper = Keeper(self.log, folder, retention)
            self._alerts = Alerts(config.alerts, folder, metrics)
            self._publisher = Publisher(config.publish, metrics) if config.publish else None
            self._recorder = (
                Recorder(
                    folder,
                    config.recording,
                    metrics,
                    on_recorded=self._writer.put,
                    allowed=lambda: self._guard.clips,
                    detected_within_s=_detected_within_s(config.events),
                    now=now,
                )
                if config.recording.enabled
                else None
            )
            undo.pop_all()

    def start(self, cameras: Iterable[Camera]) -> None:
        """Raises TransportError where predictions can't be published as they should be."""
        if self._publisher:
            self._publisher.start()
        self._started = True
        for part in (self._writer, self._keeper, self._alerts):
            part.start()
        if self._recorder:
            for camera in cameras:
                self._recorder.watch(camera.name, camera.picture)
            self._recorder.start()

    def expect(self, spec: ClipSpec, streams: Iterable[str], gap_s: float) -> ScoreLog | None:
        """What events may come. Returns where the scores of this run are kept, if they are."""
        self._alerts.announce(streams, [one for one in spec.labels if one not in spec.background])
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

    def take(self, logged: LoggedEvent) -> None:
        """News of an event. From the judge's thread; never blocks."""
        self._told += 1
        if self._recorder:
            self._recorder.follow(logged.event)
        self._writer.put(logged)

    def show(self, prediction: Prediction) -> None:
        """A prediction, for other programs."""
        if self._publisher:
            self._publisher.put_prediction(prediction)

    @property
    def settled(self) -> bool:
        """Whether all that was told is written, and was passed on."""
        return self._written >= self._told

    @property
    def away(self) -> str:
        """Why the event log's database can't be written now; "" where it can."""
        return self._writer.away

    @property
    def queues(self) -> dict[str, int]:
        """What waits now, by name."""
        return {"events": self._writer.waiting, **self._alerts.queues}

    def join(self, await_: Callable[[str, Callable[[float], bool]], None]) -> None:
        """Stop from left to right, so that nothing is lost on the way."""
        parts = {
            "recorder": self._recorder,
            "event log": self._writer,
            "retention": self._keeper,
            "alerts": self._alerts,
            "publisher": self._publisher,
        }
        for name, part in parts.items():
            if part is not None and self._started:
                part.tell_stop()
                await_(name, part.join)
        self.log.close()

    # On the event log's thread.
    def _pass_on(self, written: Sequence[LoggedEvent]) -> None:
        for logged in written:
            self._alerts.put(logged)
            if self._publisher:
                self._publisher.put_event(logged)
            self._on_written(logged)
        self._written += len(written)


def _detected_within_s(policy: EventsConfig) -> float:
    """How long after its start an event is noticed: so long its pre-roll must be kept."""
    minimum = max(policy.policy(label).minimum for label in ("", *policy.labels))
    return _LARGEST_SPAN_S + minimum + 5 * policy.smoothing
