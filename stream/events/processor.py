"""Processes predictions: updates views, and detects events.

Its thread, "event processor", owns the detectors.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from threading import Event as StopEvent

from stream.capture.camera import Camera
from stream.capture.manager import CameraChanges, CameraManager
from stream.config.events import EventsConfig
from stream.events.detector import Detector, deterministic_ids, random_id
from stream.messages import ClipSpec, Event, LoggedEvent, Prediction
from stream.regions.clip_source import camera_of
from stream.runtime.metrics import Metrics
from stream.runtime.service import ServiceThread
from stream.sinks.build import EventSinks
from stream.sinks.score_files import quantize

_log = logging.getLogger(__name__)
_MAX_QUEUED = 256  # predictions from the scheduler
_CLOCK_STEP_S = 1.0
_PROGRESS_INTERVAL_S = 1.0  # between progress updates of open events
_POLL_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class CameraView:
    """The current state of one camera, for display."""

    prediction: Prediction | None
    open_events: tuple[Event, ...]
    processed_at: float | None = None  # monotonic seconds, when the prediction was processed


@dataclass(frozen=True, slots=True)
class ScanInput:
    """The identity of a scanned video file, which makes its events reproducible."""

    start_utc: datetime  # of its first frame
    key: str  # hash of its content and of the scan settings; event ids derive from it


class EventProcessor:
    """Turns the predictions of all cameras into views and events.

    It reports a camera that ended to the camera manager, after its last prediction and event.
    `is_drained` tells whether a camera that ended has no window left to score. `on_crash` is called
    with the reason if the thread crashes.
    """

    def __init__(
        self,
        camera_manager: CameraManager,
        config: EventsConfig,
        metrics: Metrics,
        *,
        listener: EventSinks,
        is_drained: Callable[[Camera], bool],
        on_crash: Callable[[str], None],
        scan_inputs: Mapping[str, ScanInput] | None = None,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._camera_manager = camera_manager
        self._cameras = camera_manager.active
        self._config = config
        self._metrics = metrics
        self._listener, self._is_drained = listener, is_drained
        self._scan_inputs = scan_inputs or {}
        self._now, self._now_utc = now, now_utc
        self._spec: ClipSpec | None = None
        self._predictions: queue.Queue[Prediction] = queue.Queue(_MAX_QUEUED)
        self._updates: queue.SimpleQueue[tuple[CameraChanges, EventsConfig]] = queue.SimpleQueue()
        self._views: dict[str, CameraView] = {}
        self._detectors: dict[str, Detector] = {}
        self._start_utc: dict[str, datetime] = {}  # UTC of the camera's time 0, by open event
        self._finished: set[Camera] = set()
        self._over = StopEvent()  # no more predictions are processed
        self._thread = ServiceThread(
            "event processor", self._run, metrics=metrics, on_crash=on_crash
        )
        self.alive_at = now()

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        """Predictions that were put before are still processed; then all events are closed."""
        self._thread.request_stop()

    def join(self, timeout_s: float) -> bool:
        return self._thread.join(timeout_s)

    def on_model(self, spec: ClipSpec) -> None:
        self._spec = spec

    def put(self, prediction: Prediction) -> None:
        """Queue a prediction, from the scheduler's thread. A live run drops it if the queue is
        full."""
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._predictions.put(prediction, timeout=0.5 if self._scan_inputs else 0.0)
                return
            if not self._scan_inputs:  # a scan processes every window
                break
        self._metrics.count("dropped_predictions", prediction.camera)

    def update(self, changes: CameraChanges, config: EventsConfig) -> None:
        """Set the cameras and thresholds from the next prediction on. From any thread.

        Open events continue with the new thresholds. Events of removed cameras are closed; a new
        camera with the same name counts as another one.
        """
        self._updates.put((changes, config))

    def view(self, stream: str) -> CameraView:
        """The latest prediction and the open events of a camera, or of "camera/zone"."""
        return self._views.get(stream, CameraView(None, ()))

    def views(self, camera: str) -> dict[str, CameraView]:
        """The views of a camera's zones by name; without zones, of the whole frame under ""."""
        found = self._camera_manager.active.get(camera)
        return {
            stream.name.removeprefix(camera).removeprefix("/"): self.view(stream.name)
            for stream in (found.streams if found is not None else ())
        }

    @property
    def queued(self) -> int:
        return self._predictions.qsize()

    def _run(self) -> None:
        try:
            self._process_all()
        finally:
            self._over.set()

    def _process_all(self) -> None:
        """Process predictions until the stop, and those that are queued then."""
        polled_at, progress_at = self._now(), self._now()
        offset_s = self._clock_offset_s()
        drained: list[Camera] = []
        while not (self._thread.stopping.is_set() and self._predictions.empty()):
            self.alive_at = self._now()
            prediction: Prediction | None = None
            with contextlib.suppress(queue.Empty):
                prediction = self._predictions.get(timeout=_POLL_INTERVAL_S)
            while not self._updates.empty():
                self._apply_update(*self._updates.get())
            if prediction is not None:
                self._process(prediction)
                if self._now() - polled_at < _POLL_INTERVAL_S:
                    continue
            if self._predictions.empty():  # a camera's predictions are queued before it is drained
                for camera in drained:
                    if self._cameras.get(camera.name) is camera:
                        self._finish(camera)
            polled_at = self._now()
            drained = [
                camera
                for camera in self._cameras.values()
                if camera.has_ended and camera not in self._finished and self._is_drained(camera)
            ]
            if self._now() - progress_at >= _PROGRESS_INTERVAL_S:
                progress_at, before_s = self._now(), offset_s
                offset_s = self._clock_offset_s()
                self._emit_progress()
                if abs(offset_s - before_s) > _CLOCK_STEP_S:  # new events use the new time
                    self._metrics.count("wall_clock_steps")
                    _log.warning("the system clock was set by %.0f s", offset_s - before_s)
        for stream in self._detectors:
            self._close_events(stream, "stop")

    def _apply_update(self, changes: CameraChanges, config: EventsConfig) -> None:
        for camera in changes.removed:
            self._remove_camera(camera)
        self._cameras = changes.active
        if config != self._config:
            self._config = config
            for stream, detector in self._detectors.items():
                self._emit(detector.update_config(config))
                self._views[stream] = replace(self.view(stream), open_events=tuple(detector.open()))
        if changes:
            self._listener.on_cameras(changes.removed, changes.added)

    def _remove_camera(self, camera: Camera) -> None:
        """Close the events and views of a removed camera."""
        for stream in camera.streams:
            prediction = self.view(stream.name).prediction
            if stream.name in self._detectors:
                self._close_events(stream.name, "stop")
                del self._detectors[stream.name]
                if prediction is not None:  # a later camera with this name has another clock
                    self._emit_gap(stream.name, prediction.end_s)
            self._views.pop(stream.name, None)
        self._finished.discard(camera)

    def _clock_offset_s(self) -> float:
        """UTC minus the monotonic clock; constant until the system clock is set."""
        return self._now_utc().timestamp() - self._now()

    def _process(self, prediction: Prediction) -> None:
        stream, before = prediction.camera, self.view(prediction.camera).prediction
        camera = self._cameras.get(camera_of(stream))
        if camera is None or prediction.newest_at < camera.created_at:  # of a removed camera
            self._metrics.count("orphaned_predictions", stream)
            return
        if before is not None and prediction.end_s < before.end_s:
            self._metrics.count("out_of_order_predictions", stream)  # overtaken by another worker's
            return
        assert self._spec is not None  # a worker is ready before it sends predictions
        started_at = self._now()
        # Stored scores are rounded; events use the rounded ones, so that a replay is identical.
        rounded = replace(prediction, probabilities=quantize(prediction.probabilities))
        detector = self._detectors.get(stream)
        if detector is None:
            detector = self._detectors[stream] = self._detector(stream, self._spec)
        changed = detector.update(rounded)
        self._views[stream] = CameraView(prediction, tuple(detector.open()), self._now())
        self._metrics.measure("age", self._now() - prediction.newest_at)
        self._metrics.measure("inference", prediction.inference_s)
        self._emit(changed)
        self._listener.on_prediction(prediction, self._utc(stream, prediction.end_s))
        self._metrics.measure("event_detection", self._now() - started_at)

    def _detector(self, stream: str, spec: ClipSpec) -> Detector:
        scan = self._scan_inputs.get(camera_of(stream))
        new_id = random_id if scan is None else deterministic_ids(f"{scan.key} {stream}")
        return Detector(
            stream, self._config, spec.background, gap_s=spec.event_gap_s, new_id=new_id
        )

    def _emit_progress(self) -> None:
        assert self._spec is not None or not self._detectors
        for stream, detector in self._detectors.items():
            self._emit(detector.open())
            prediction = self.view(stream).prediction
            if self._scan_inputs or prediction is None or self._spec is None:
                continue
            if self._now() - prediction.newest_at > self._spec.event_gap_s:
                self._close_events(stream, "gap")
                self._emit_gap(stream, prediction.end_s)

    def _finish(self, camera: Camera) -> None:
        for stream in camera.streams:
            if self._detectors.get(stream.name) is not None:
                self._close_events(stream.name, "stop")
                del self._detectors[stream.name]
        self._finished.add(camera)
        self._listener.on_camera_finished(camera)
        self._camera_manager.finish(camera)

    def _close_events(self, stream: str, closed_by: str) -> None:
        self._emit(self._detectors[stream].flush(closed_by))
        self._views[stream] = replace(self.view(stream), open_events=())

    def _emit(self, events: list[Event]) -> None:
        for event in events:
            is_new = event.id not in self._start_utc
            if is_new:
                self._start_utc[event.id] = self._time_zero(event.camera)
            assert self._spec is not None  # see _process
            change = "end" if event.end_s is not None else "start" if is_new else "progress"
            start_utc = self._start_utc[event.id]
            self._listener.on_event(LoggedEvent(event, change, start_utc, self._spec.model))
            if is_new:
                self._metrics.count("events", event.camera)
                _log.info("%s: %s at %.1f s", event.camera, event.label, event.start_s)
            if event.end_s is not None:
                del self._start_utc[event.id]

    def _emit_gap(self, stream: str, end_s: float) -> None:
        self._listener.on_gap(stream, end_s, self._utc(stream, end_s))

    def _utc(self, stream: str, time_s: float) -> datetime:
        return self._time_zero(stream) + timedelta(seconds=time_s)

    def _time_zero(self, stream: str) -> datetime:
        """UTC of time 0 of a stream's camera, by the current clocks.

        Computed for each event, because clocks drift, are set, and stop during sleep.
        """
        camera = camera_of(stream)
        if camera in self._scan_inputs:
            return self._scan_inputs[camera].start_utc
        started_at = self._cameras[camera].started_at
        assert started_at is not None  # an event needs frames
        return self._now_utc() - timedelta(seconds=self._now() - started_at)
