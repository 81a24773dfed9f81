"""The one file that joins the parts: `with Pipeline(config) as p`.

Threads: one for each camera (capture), one for the scheduler (owns the workers' socket), one
that judges predictions (owns detectors and the event log), one that minds the local worker.
"""

from __future__ import annotations

import logging
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from stream.capture import FAILED, Camera
from stream.config import Config
from stream.event_log import EventLog
from stream.events import Detector
from stream.messages import ClipSpec, Event, Prediction
from stream.metrics import Metrics
from stream.scheduler import Scheduler
from stream.supervisor import Supervisor, worker_command
from stream.transport import SchedulerEnd

_log = logging.getLogger(__name__)
_MOST_WAITING = 256  # predictions between the scheduler and the judge
_PROGRESS_EVERY_S = 1.0  # how often the log is told how far open events have come


@dataclass(frozen=True, slots=True)
class View:
    """What there is to show of one camera at one moment."""

    prediction: Prediction | None
    open_events: tuple[Event, ...]


class Pipeline:
    """A watch from cameras to event log, running between `__enter__` and `__exit__`.

    `over` is set when nothing more will happen: all sources have ended, or something failed,
    and then `failure` says what. Raises SourceError, TransportError or EventLogError for what
    can't work from the start.
    """

    def __init__(
        self,
        config: Config,
        *,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.config = config
        self.metrics = Metrics(now=now)
        self.spec: ClipSpec | None = None
        self.over = threading.Event()
        self.failure = ""
        self._now, self._now_utc = now, now_utc
        self._stop = threading.Event()  # of the scheduler and the judge
        self._predictions: queue.Queue[Prediction] = queue.Queue(_MOST_WAITING)
        self._views: dict[str, View] = {}
        self._began: dict[str, datetime] = {}
        self._socket_folder: Path | None = None
        self.cameras = {
            name: Camera(name, camera.source, self.metrics, on_frame=self._on_frame, now=now)
            for name, camera in config.cameras.items()
        }

    def view(self, camera: str) -> View:
        """The latest prediction and the open events of a camera."""
        return self._views.get(camera, View(None, ()))

    @property
    def worker_pid(self) -> int | None:
        """Process id of the local worker while it runs."""
        return self._supervisor.pid if self._supervisor else None

    def __enter__(self) -> Pipeline:
        config = self.config
        self._log = EventLog.create(config.data)
        try:
            self._link = SchedulerEnd(
                config.worker.endpoint or self._private_endpoint(),
                malformed=lambda: self.metrics.count("malformed_messages"),
            )
        except BaseException:
            self._log.close()
            self._remove_socket()
            raise
        self._scheduler = Scheduler(
            self._link,
            self.cameras,
            self.metrics,
            stride_s=config.window.stride,
            answer_within_s=config.worker.answer_within,
            on_spec=self._on_spec,
            on_prediction=self._on_prediction,
            on_failure=self._fail,
            now=self._now,
        )
        self._threads = [
            self._thread("scheduler", lambda: self._scheduler.run(self._stop)),
            self._thread("judge", self._judge),
        ]
        self._supervisor = (
            Supervisor(
                worker_command(self._link.endpoint, config.model),
                on_restart=lambda _: self.metrics.count("worker_restarts"),
            )
            if config.worker.local
            else None
        )
        for thread in self._threads:
            thread.start()
        for camera in self.cameras.values():
            camera.start()
        if self._supervisor:
            self._supervisor.start()
        else:
            _log.info(
                "waiting for `actionwatch worker --connect %s --model %s`",
                self._link.endpoint,
                config.model,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop from left to right, so that what was seen is still judged and logged."""
        self.over.set()
        for camera in self.cameras.values():
            camera.tell_stop()
        if self._supervisor:
            self._supervisor.tell_stop()
        self._stop.set()
        self._link.wake()
        deadline = time.monotonic() + 2.5
        parts: list[tuple[str, Callable[[float], bool]]] = [
            *((f"camera {name}", camera.join) for name, camera in self.cameras.items()),
            *((thread.name, _joiner(thread)) for thread in self._threads),
        ]
        if self._supervisor:
            parts.append(("worker", self._supervisor.join))
        for name, join in parts:
            if not join(max(0.05, deadline - time.monotonic())):
                _log.warning("%s did not stop in time", name)
        self._link.__exit__()
        self._log.close()
        self._remove_socket()

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:  # a part's death ends the run, and says why
                _log.exception("%s died", name)
                self._fail(f"{name} died: {type(error).__name__}: {error}")

        return threading.Thread(target=run, name=name, daemon=True)

    def _private_endpoint(self) -> str:
        """An ipc socket in a folder that only this user can enter."""
        self._socket_folder = Path(tempfile.mkdtemp(prefix="actionwatch-"))
        return f"ipc://{self._socket_folder / 'workers'}"

    def _remove_socket(self) -> None:
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.over.set()

    # On the capture threads.
    def _on_frame(self) -> None:
        self._link.wake()

    # On the scheduler's thread.
    def _on_spec(self, spec: ClipSpec) -> None:
        self.spec = spec
        unknown = sorted(set(self.config.events.labels) - set(spec.labels))
        if unknown:
            self._fail(
                f"events.labels: model {spec.model} has no label {unknown[0]!r}; "
                f"it has {', '.join(spec.labels[:20])}"
            )
            return
        for camera in self.cameras.values():
            camera.watch(spec)

    def _on_prediction(self, prediction: Prediction) -> None:
        try:
            self._predictions.put_nowait(prediction)
        except queue.Full:
            self.metrics.count("unjudged_predictions", prediction.camera)

    # On the judge's thread, which owns the detectors and the event log.
    def _judge(self) -> None:
        detectors: dict[str, Detector] = {}
        written_at = self._now()
        while not self._finished():
            try:
                prediction = self._predictions.get(timeout=0.1)
            except queue.Empty:
                prediction = None
            if prediction is not None:
                camera = prediction.camera
                if camera not in detectors:
                    assert self.spec is not None  # a prediction came, so a worker said hello
                    detectors[camera] = Detector(camera, self.config.events, self.spec.background)
                changed = detectors[camera].update(prediction)
                self._views[camera] = View(prediction, tuple(detectors[camera].open()))
                self.metrics.age(self._now() - prediction.newest_at)
                self._write(changed)
            if self._now() - written_at >= _PROGRESS_EVERY_S:
                written_at = self._now()
                for detector in detectors.values():
                    self._write(detector.open(), count=False)
        for name, detector in detectors.items():
            self._write(detector.flush("stop"))
            self._views[name] = View(self.view(name).prediction, ())

    def _finished(self) -> bool:
        """Whether the judge has seen all that will come. Tells `over` when sources have ended."""
        if self._stop.is_set():
            return self._predictions.empty()
        if not self.over.is_set() and all(camera.over for camera in self.cameras.values()):
            failed = [camera for camera in self.cameras.values() if camera.state == FAILED]
            if len(failed) == len(self.cameras):
                self._fail(failed[0].reason)
            elif self._scheduler.idle and self._predictions.empty():
                self.over.set()
        return False

    def _write(self, events: list[Event], *, count: bool = True) -> None:
        for event in events:
            assert self.spec is not None  # see _judge
            self._log.write(event, began_utc=self._began_utc(event.camera), model=self.spec.model)
            if count and event.end_s is None:
                self.metrics.count("events", event.camera)
                _log.info("%s: %s at %.1f s", event.camera, event.label, event.start_s)

    def _began_utc(self, camera: str) -> datetime:
        """UTC of a camera's time 0; fixed when first asked, so that rows agree with each other."""
        if camera not in self._began:
            began_at = self.cameras[camera].began_at
            assert began_at is not None  # it gave frames, or there would be no event
            self._began[camera] = self._now_utc() - timedelta(seconds=self._now() - began_at)
        return self._began[camera]


def _joiner(thread: threading.Thread) -> Callable[[float], bool]:
    def join(timeout_s: float) -> bool:
        thread.join(timeout_s)
        return not thread.is_alive()

    return join
