"""EventSink: what receives the predictions and events of a run; and the registry of sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stream.capture.camera import Camera
from stream.config.config import Config
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.runtime.metrics import Metrics
from stream.runtime.registry import Registry
from stream.runtime.service import Service, join_all
from stream.sinks.disk_guard import DiskGuard
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.writer import EventWriter


class EventSink:
    """Receives the predictions and events of a run.

    A sink derives from it and overrides the methods that it needs; the others do nothing.

    Methods named `on_` are called on the event processor's thread, or on the one named there, and
    must not block. An error in one of them is logged and counted; the run continues.
    """

    name: str
    feeds_log: bool = False  # stopped before the event log, so that its updates are still written
    min_stop_s: float = 0.1  # minimum timeout of `join`
    services: Sequence[Service] = ()  # started and stopped with the sink, such as its thread

    def start(self) -> None:
        """May raise an error, in one line, that ends the run."""
        for service in self.services:
            service.start()

    def request_stop(self) -> None:
        """Start to stop; the sink receives nothing more. May be called without `start`."""
        for service in self.services:
            service.request_stop()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if it did not come within `timeout_s` seconds."""
        return join_all(self.services, timeout_s)

    def on_model(self, spec: ClipSpec, streams: Sequence[str]) -> None:
        """The model is known, on the scheduler's thread, before the first prediction."""

    def on_prediction(self, prediction: Prediction, end_utc: datetime) -> None:
        """A window was scored; `end_utc` is its end. Its events were published before."""

    def on_event(self, logged: LoggedEvent) -> None:
        """An event started, goes on or has ended; it may not be stored yet."""

    def on_written(self, logged: LoggedEvent) -> None:
        """An event update is safely stored. On the event log's thread."""

    def on_gap(self, stream: str, end_s: float, end_utc: datetime) -> None:
        """All events of a stream were closed after the window that ended at `end_s`."""

    def on_camera_finished(self, camera: Camera) -> None:
        """A camera has ended; all its events were published."""

    def on_cameras(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        """Cameras were removed, after their last events, and others added.

        Called before `start` with the first cameras, too.
        """

    def update_config(self, config: Config) -> None:
        """Apply another configuration. On any thread."""

    @property
    def queues(self) -> Mapping[str, int]:
        """Queue lengths by name."""
        return {}


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink may use."""

    config: Config
    folder: Path  # of the run's data
    metrics: Metrics
    log: EventLog  # to read, review and delete events
    writer: EventWriter  # accepts media of events
    disk: DiskGuard
    is_scan: bool  # of video files: nothing is deleted for its age
    now: Callable[[], float]


# Each makes a sink of a run, or returns None if the configuration does not want it. They may raise
# an error, in one line, for a setup that can't work.
SINKS: Registry[Callable[[SinkContext], EventSink | None]] = Registry("sink", "stream.sinks")
