"""ClipSink: event clips and snapshots of a run, by the recorder."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stream.capture.camera import Camera
from stream.config.config import Config
from stream.config.events import EventsConfig
from stream.messages import EventMedia, LoggedEvent
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.clips.recorder import Recorder

_MAX_SPAN_S = 13.0  # a little more than the longest clip of the published models


class ClipSink(EventSink):
    """Records the events of a run, and reports the files to the event log."""

    name = "recorder"
    feeds_log = True
    min_stop_s = 2.0  # finishes open clips

    def __init__(self, context: SinkContext) -> None:
        self._writer, disk, events = context.writer, context.disk, context.config.events
        self._recorder = Recorder(
            context.folder,
            context.config.recording,
            context.metrics,
            on_media=self._on_media,
            allowed=lambda: disk.clips_allowed,
            max_detection_delay_s=max_detection_delay_s(events),
            max_end_shift_s=max_end_shift_s(events),
            now=context.now,
        )

    def start(self) -> None:
        self._recorder.start()

    def request_stop(self) -> None:
        self._recorder.request_stop()

    def join(self, timeout_s: float) -> bool:
        return self._recorder.join(timeout_s)

    def on_event(self, logged: LoggedEvent) -> None:
        self._recorder.on_event(logged.event)

    def on_cameras(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        for camera in removed:
            self._recorder.remove_camera(camera.name)
        for camera in added:
            self._recorder.add_camera(camera.name, camera.latest_frame)

    def update_config(self, config: Config) -> None:
        self._recorder.update_config(
            max_detection_delay_s=max_detection_delay_s(config.events),
            max_end_shift_s=max_end_shift_s(config.events),
        )

    # On the recorder's thread.
    def _on_media(self, media: EventMedia) -> None:
        self._writer.put(media)


@SINKS.register(ClipSink.name)
def _make(context: SinkContext) -> EventSink | None:
    return ClipSink(context) if context.config.recording.enabled else None


def max_detection_delay_s(policy: EventsConfig) -> float:
    """Maximum delay from an event's start to its detection; its pre-roll stays buffered so long."""
    min_duration = max(policy.policy(label).min_duration for label in ("", *policy.labels))
    return _MAX_SPAN_S + min_duration + 5 * policy.smoothing


def max_end_shift_s(policy: EventsConfig) -> float:
    """By how much the end of an open event may move back when the event closes."""
    release = min(policy.policy(label).release_threshold for label in ("", *policy.labels))
    return max(1.0, policy.smoothing * math.log(1 / max(release, 0.05)))
