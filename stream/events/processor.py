"""Judges predictions: what is shown and kept of them, and the events that they make.

`Judge.run` owns the detectors and the kept scores: one thread calls it.
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
from stream.config.events import EventsConfig
from stream.events.detector import Detector, ids_named_after, random_id
from stream.messages import ClipSpec, Event, LoggedEvent, Prediction
from stream.regions.clip_source import camera_of
from stream.runtime.metrics import Metrics
from stream.sinks.score_log import ScoreLog, as_kept

_log = logging.getLogger(__name__)
_MOST_WAITING = 256  # predictions between the scheduler and the judge
_SHORTEST_GAP_S = 5.0
_CLOCK_SET_S = 1.0
_PROGRESS_EVERY_S = 1.0  # how often it is told how far open events have come
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class View:
    """What there is to show of one camera at one moment."""

    prediction: Prediction | None
    open_events: tuple[Event, ...]
    judged_at: float | None = None  # monotonic seconds, when the prediction was ready to be shown


@dataclass(frozen=True, slots=True)
class Film:
    """Of a recorded file that is scanned: what makes its events the same each time."""

    began_utc: datetime  # of its first picture
    key: str  # of its content and of how it is scanned; ids of events are made of it


class Judge:
    """Turns the predictions of all cameras into views and events.

    `settled` says of a camera that nothing more will come from it, and that all that came is
    scored; then its events are closed, and `on_finished` is told. `on_exchange` is told which
    cameras have gone, with all their events closed, and which have come.
    """

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        config: EventsConfig,
        metrics: Metrics,
        *,
        on_event: Callable[[LoggedEvent], None],
        on_prediction: Callable[[Prediction], None],
        on_finished: Callable[[Camera], None],
        on_exchange: Callable[[list[Camera], list[Camera]], None],
        settled: Callable[[Camera], bool],
        films: Mapping[str, Film] | None = None,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._cameras = cameras
        self._config = config
        self._metrics = metrics
        self._on_event, self._on_prediction = on_event, on_prediction
        self._on_finished, self._on_exchange = on_finished, on_exchange
        self._settled = settled
        self._films = films or {}
        self._now, self._now_utc = now, now_utc
        self._spec: ClipSpec | None = None
        self._scores: ScoreLog | None = None
        self._predictions: queue.Queue[Prediction] = queue.Queue(_MOST_WAITING)
        self._orders: queue.SimpleQueue[tuple[Mapping[str, Camera], EventsConfig]]
        self._orders = queue.SimpleQueue()
        self._views: dict[str, View] = {}
        self._detectors: dict[str, Detector] = {}
        self._began: dict[str, datetime] = {}  # UTC of the camera's time 0, by open event
        self._finished: set[Camera] = set()
        self._over = StopEvent()  # nothing is judged any more
        self.alive_at = now()

    def expect(self, spec: ClipSpec, scores: ScoreLog | None) -> None:
        """What predictions will mean, and where they are kept. Before the first of them."""
        self._spec, self._scores = spec, scores

    def put(self, prediction: Prediction) -> None:
        """Take a prediction to be judged. From the scheduler's thread."""
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._predictions.put(prediction, timeout=0.5 if self._films else 0.0)
                return
            if not self._films:  # there, every window counts
                break
        self._metrics.count("unjudged_predictions", prediction.camera)

    def change(self, cameras: Mapping[str, Camera], config: EventsConfig) -> None:
        """Watch these cameras by this policy, from the next prediction on. From any thread.

        What is open goes on under the new thresholds. The events of cameras that are gone are
        closed; another one of the same name is another camera.
        """
        self._orders.put((cameras, config))

    def view(self, stream: str) -> View:
        """The latest prediction and the open events of a camera, or of "camera/zone"."""
        return self._views.get(stream, View(None, ()))

    @property
    def waiting(self) -> int:
        """Predictions that are not judged yet."""
        return self._predictions.qsize()

    def gap_s(self, spec: ClipSpec) -> float:
        """After so long without predictions nobody knows whether an event goes on."""
        # A large model on a small machine may need as long as its clips last.
        return max(_SHORTEST_GAP_S, spec.span_s)

    def run(self, stop: StopEvent) -> None:
        """Judge until `stop` is set and nothing waits any more."""
        try:
            self._work(stop)
        finally:
            self._over.set()

    def _work(self, stop: StopEvent) -> None:
        looked_at, told_at = self._now(), self._now()
        utc_ahead_s = self._utc_ahead_s()
        settled: list[Camera] = []
        while not (stop.is_set() and self._predictions.empty()):
            self.alive_at = self._now()
            prediction: Prediction | None = None
            with contextlib.suppress(queue.Empty):
                prediction = self._predictions.get(timeout=_LOOK_EVERY_S)
            self._heed_orders()
            if prediction is not None:
                self._weigh(prediction)
                if self._now() - looked_at < _LOOK_EVERY_S:
                    continue
            if self._predictions.empty():  # what they brought was put before they were settled
                for camera in settled:
                    if self._watches(camera):
                        self._finish(camera)
            looked_at = self._now()
            settled = [
                camera
                for camera in self._cameras.values()
                if camera.over and camera not in self._finished and self._settled(camera)
            ]
            if self._now() - told_at >= _PROGRESS_EVERY_S:
                told_at, before_s = self._now(), utc_ahead_s
                utc_ahead_s = self._utc_ahead_s()
                self._tell_progress()
                if abs(utc_ahead_s - before_s) > _CLOCK_SET_S:  # events are told by the new time
                    self._metrics.count("host_clock_settings")
                    _log.warning("this machine's clock was set by %.0f s", utc_ahead_s - before_s)
        for stream in self._detectors:
            self._end(stream, "stop")
        if self._scores is not None:
            self._scores.close_all()

    def _watches(self, camera: Camera) -> bool:
        return self._cameras.get(camera.name) is camera

    def _heed_orders(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._heed(*self._orders.get_nowait())

    def _heed(self, cameras: Mapping[str, Camera], config: EventsConfig) -> None:
        before = self._cameras
        gone = [one for name, one in before.items() if cameras.get(name) is not one]
        for camera in gone:
            self._part_with(camera)
        self._cameras = cameras
        if config != self._config:
            self._config = config
            for stream, detector in self._detectors.items():
                self._tell(detector.heed(config))
                self._views[stream] = replace(self.view(stream), open_events=tuple(detector.open()))
        new = [one for name, one in cameras.items() if before.get(name) is not one]
        if gone or new:
            self._on_exchange(gone, new)

    def _part_with(self, camera: Camera) -> None:
        """Close all that is open in a camera that is watched no more."""
        for stream in camera.streams:
            prediction = self.view(stream.name).prediction
            if stream.name in self._detectors:
                self._end(stream.name, "stop")
                del self._detectors[stream.name]
                if self._scores is not None and prediction is not None:
                    # What comes under this name again is on another clock.
                    utc = self._utc(stream.name, prediction.end_s)
                    self._scores.put_break(stream.name, prediction.end_s, utc)
            if self._scores is not None:
                self._scores.close(stream.name)
            self._views.pop(stream.name, None)
        self._finished.discard(camera)

    def _utc_ahead_s(self) -> float:
        """Of the monotonic clock: constant, until somebody sets the clock."""
        return self._now_utc().timestamp() - self._now()

    def _weigh(self, prediction: Prediction) -> None:
        stream, before = prediction.camera, self.view(prediction.camera).prediction
        camera = self._cameras.get(camera_of(stream))
        if camera is None or prediction.newest_at < camera.made_at:  # of one that is gone
            self._metrics.count("unneeded_predictions", stream)
            return
        if before is not None and prediction.end_s < before.end_s:
            self._metrics.count("overtaken_predictions", stream)  # by one of another worker
            return
        assert self._spec is not None  # a prediction came, so a worker said hello
        began = self._now()
        # So that what was kept makes the same events when it is replayed.
        kept = replace(prediction, probabilities=as_kept(prediction.probabilities))
        detector = self._detectors.get(stream)
        if detector is None:
            detector = self._detectors[stream] = self._detector(stream, self._spec)
        changed = detector.update(kept)
        self._views[stream] = View(prediction, tuple(detector.open()), self._now())
        self._metrics.measure("age", self._now() - prediction.newest_at)
        self._metrics.measure("inference", prediction.inference_s)
        if self._scores is not None:
            self._scores.put(kept, self._utc(stream, prediction.end_s))
        self._tell(changed)
        self._on_prediction(prediction)
        self._metrics.measure("judge", self._now() - began)

    def _detector(self, stream: str, spec: ClipSpec) -> Detector:
        film = self._films.get(camera_of(stream))

        new_id = random_id if film is None else ids_named_after(f"{film.key} {stream}")
        return Detector(
            stream, self._config, spec.background, gap_s=self.gap_s(spec), new_id=new_id
        )

    def _tell_progress(self) -> None:
        assert self._spec is not None or not self._detectors
        for stream, detector in self._detectors.items():
            self._tell(detector.open())
            prediction = self.view(stream).prediction
            if self._films or prediction is None or self._spec is None:
                continue
            if self._now() - prediction.newest_at > self.gap_s(self._spec):
                self._end(stream, "gap")  # without predictions nobody knows whether it goes on
                if self._scores is not None:
                    end_s = prediction.end_s
                    self._scores.put_break(stream, end_s, self._utc(stream, end_s))

    def _finish(self, camera: Camera) -> None:
        for stream in camera.streams:
            if self._detectors.get(stream.name) is not None:
                self._end(stream.name, "stop")
                del self._detectors[stream.name]
            if self._scores is not None:
                self._scores.close(stream.name)
        self._finished.add(camera)
        self._on_finished(camera)

    def _end(self, stream: str, closed_by: str) -> None:
        """Close what is open in a stream."""
        self._tell(self._detectors[stream].flush(closed_by))
        self._views[stream] = replace(self.view(stream), open_events=())

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            is_new = event.id not in self._began
            if is_new:
                self._began[event.id] = self._time_zero(event.camera)
            assert self._spec is not None  # see _weigh
            change = "end" if event.end_s is not None else "start" if is_new else "progress"
            self._on_event(LoggedEvent(event, change, self._began[event.id], self._spec.model))
            if is_new:
                self._metrics.count("events", event.camera)
                _log.info("%s: %s at %.1f s", event.camera, event.label, event.start_s)
            if event.end_s is not None:
                del self._began[event.id]

    def _utc(self, stream: str, time_s: float) -> datetime:
        return self._time_zero(stream) + timedelta(seconds=time_s)

    def _time_zero(self, stream: str) -> datetime:
        """UTC of time 0 of a stream's camera, by the clocks as they are now.

        Asked anew for each event: in a run of weeks clocks drift, are set, and sleep.
        """
        camera = camera_of(stream)
        if camera in self._films:
            return self._films[camera].began_utc
        began_at = self._cameras[camera].began_at
        assert began_at is not None  # it gave frames, or there would be no event
        return self._now_utc() - timedelta(seconds=self._now() - began_at)
