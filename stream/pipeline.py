"""The one file that joins the parts: `with Pipeline(config) as p`.

Threads: one for each camera (capture), one for the scheduler (owns the workers' socket), one
that judges predictions (owns detectors and the event log), one for each local worker.
"""

from __future__ import annotations

import contextlib
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
from stream.clip_stream import camera_of
from stream.config import Config
from stream.event_log import EventLog
from stream.events import Detector
from stream.messages import ClipSpec, Event, Prediction
from stream.metrics import Metrics
from stream.scheduler import Scheduler
from stream.supervisor import LocalWorkers, worker_command
from stream.threads import for_capture
from stream.transport import SchedulerEnd

_log = logging.getLogger(__name__)
_STOP_WITHIN_S = 2.5
_SHORTEST_GAP_S = 5.0
_MOST_DEATHS, _DEATHS_WITHIN_S = 5, 300.0  # of a worker, until its trouble is taken for lasting
_STUCK_S = 10.0  # without a sign of life
_MOST_WAITING = 256  # predictions between the scheduler and the judge
_CLOCK_SET_S = 1.0
_PROGRESS_EVERY_S = 1.0  # how often the log is told how far open events have come


@dataclass(frozen=True, slots=True)
class View:
    """What there is to show of one camera at one moment."""

    prediction: Prediction | None
    open_events: tuple[Event, ...]


class Pipeline:
    """A watch from cameras to event log, running between `__enter__` and `__exit__`.

    `over` is set when nothing more will happen: all sources have ended, or something failed.
    `failure` says what; after `__exit__` also which cameras failed while others went on.
    Raises SourceError, TransportError or EventLogError for what can't work from the start.
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
        self._stop = threading.Event()  # of the scheduler
        self._judge_stop = threading.Event()
        self._stop_by: float | None = None
        self._predictions: queue.Queue[Prediction] = queue.Queue(_MOST_WAITING)
        self._views: dict[str, View] = {}
        self._began: dict[tuple[str, str], datetime] = {}  # of each open event
        self._deaths: list[float] = []  # of local workers, monotonic seconds
        self._judge_alive_at = now()
        self._socket_folder: Path | None = None
        self.cameras = {
            name: Camera(
                name,
                camera,
                self.metrics,
                on_frame=self._on_frame,
                now=now,
            )
            for name, camera in config.cameras.items()
        }

    def view(self, stream: str) -> View:
        """The latest prediction and the open events of a camera, or of "camera/zone"."""
        return self._views.get(stream, View(None, ()))

    def views(self, camera: str) -> dict[str, View]:
        """Those of a camera's zones by name; of the whole picture under "" where it has none."""
        return {
            stream.name.removeprefix(camera).removeprefix("/"): self.view(stream.name)
            for stream in self.cameras[camera].streams
        }

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the local workers that run now."""
        return self._local_workers.pids if self._local_workers else ()

    @property
    def workers(self) -> int:
        """How many workers ask for clips, or have some."""
        return self._scheduler.workers

    @property
    def stuck(self) -> list[str]:
        """Which threads have not shown for long that they are alive; "judge" writes the log."""
        alive_at = {"scheduler": self._scheduler.alive_at, "judge": self._judge_alive_at}
        since = self._now() - _STUCK_S
        return [name for name, moment in alive_at.items() if moment < since]

    @property
    def queues(self) -> dict[str, int]:
        """What waits now, by name."""
        return {"clips": self._scheduler.in_flight, "predictions": self._predictions.qsize()}

    def __enter__(self) -> Pipeline:
        config = self.config
        for_capture()
        self._event_log = EventLog.create(config.data)
        try:
            self._link = SchedulerEnd(
                config.worker.endpoint or self._private_endpoint(),
                malformed=lambda: self.metrics.count("malformed_messages"),
            )
        except BaseException:
            self._event_log.close()
            self._remove_socket()
            raise
        self._scheduler = Scheduler(
            self._link,
            {stream.name: stream for camera in self.cameras.values() for stream in camera.streams},
            self.metrics,
            stride_s=config.window.stride,
            answer_within_s=config.worker.answer_within,
            batch_wait_s=config.worker.batch_wait,
            on_spec=self._on_spec,
            on_prediction=self._on_prediction,
            on_failure=self._on_worker_failure,
            on_hello=self._on_hello,
            on_silence=self._on_silence,
            now=self._now,
        )
        self._threads = [
            self._thread("scheduler", lambda: self._scheduler.run(self._stop)),
            self._thread("judge", self._judge),
        ]
        self._local_workers = (
            LocalWorkers(
                lambda number: worker_command(
                    self._link.endpoint, config.model, config.worker, number=number
                ),
                None if config.worker.workers == "auto" else config.worker.workers,
                on_death=self._on_worker_death,
                on_failure=self._fail,
                ready_within_s=config.worker.ready_within,
            )
            if config.worker.local
            else None
        )
        for thread in self._threads:
            thread.start()
        for camera in self.cameras.values():
            camera.start()
        if self._local_workers:
            self._local_workers.start()
        else:
            _log.info(
                "waiting for `actionwatch worker --connect %s --model %s`",
                self._link.endpoint,
                config.model,
            )
        return self

    def tell_stop(self) -> None:
        """Let everything begin to stop; `__exit__` waits for it, from this moment on."""
        if self._stop_by is not None:
            return
        self._stop_by = time.monotonic() + _STOP_WITHIN_S
        self.over.set()
        for camera in self.cameras.values():
            camera.tell_stop()
        if self._local_workers:
            self._local_workers.tell_stop()
        self._stop.set()
        self._link.wake()

    def __exit__(self, *_: object) -> None:
        """Stop from left to right, so that what was scored is still judged and logged."""
        self.tell_stop()
        scheduler, judge = self._threads
        self._await(scheduler.name, _joiner(scheduler))
        self._judge_stop.set()
        self._await(judge.name, _joiner(judge))
        for name, camera in self.cameras.items():
            self._await(f"camera {name}", camera.join, at_least_s=0.0)
        if self._local_workers:
            self._await("worker", self._local_workers.join)
        self._link.__exit__()
        self._event_log.close()
        self._remove_socket()
        failed = [
            camera
            for camera in self.cameras.values()
            if camera.state == FAILED or (camera.reason and camera.began_at is None)  # never there
        ]
        if failed:
            self._fail("; ".join(f"camera {camera.name}: {camera.reason}" for camera in failed))

    def _await(self, name: str, join: Callable[[float], bool], *, at_least_s: float = 0.1) -> None:
        assert self._stop_by is not None  # told to stop before
        if not join(max(at_least_s, self._stop_by - time.monotonic())):
            _log.warning("%s did not stop in time", name)

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

    # On the scheduler's thread, as the four below.
    def _on_spec(self, spec: ClipSpec) -> None:
        self.spec = spec
        if self._local_workers is None and spec.model != Path(self.config.model).name:
            _log.warning(
                "the worker that came runs model %s, not %s", spec.model, self.config.model
            )
        unknown = sorted(set(self.config.events.labels) - set(spec.labels))
        if unknown:
            self._fail(
                f"events.labels: model {spec.model} has no label {unknown[0]!r}; "
                f"it has {', '.join(spec.labels[:20])}"
            )
            return
        for camera in self.cameras.values():
            camera.watch(spec)

    def _on_worker_failure(self, worker: bytes, reason: str) -> None:
        if not (self._local_workers and self._local_workers.blame(worker, reason)):
            self._fail(reason)

    def _on_hello(self, worker: bytes, devices: int) -> None:
        if self._local_workers:
            self._local_workers.greeted(worker, devices)

    def _on_silence(self, worker: bytes) -> None:
        if self._local_workers:
            self._local_workers.replace(worker)

    def _on_prediction(self, prediction: Prediction) -> None:
        try:
            self._predictions.put_nowait(prediction)
        except queue.Full:
            self.metrics.count("unjudged_predictions", prediction.camera)

    # On a supervisor's thread.
    def _on_worker_death(self, code: int) -> None:
        self.metrics.count("worker_restarts")
        self._deaths.append(self._now())
        assert self._local_workers is not None  # one of them it was
        most = _MOST_DEATHS * self._local_workers.started
        recent = [moment for moment in self._deaths if moment > self._now() - _DEATHS_WITHIN_S]
        self._deaths = recent
        if len(recent) >= most:
            self._fail(
                f"the worker ended {most} times within {_DEATHS_WITHIN_S / 60:.0f} minutes, the "
                f"last time with code {code}; see its messages above"
            )

    # On the judge's thread, which owns the detectors and the event log.
    def _judge(self) -> None:
        detectors: dict[str, Detector] = {}
        looked_at = self._now()
        utc_ahead_s = self._utc_ahead_s()
        while not self._finished():
            self._judge_alive_at = self._now()
            with contextlib.suppress(queue.Empty):
                self._weigh(self._predictions.get(timeout=0.1), detectors)
            if self._now() - looked_at >= _PROGRESS_EVERY_S:
                looked_at, before_s = self._now(), utc_ahead_s
                utc_ahead_s = self._utc_ahead_s()
                if abs(utc_ahead_s - before_s) > _CLOCK_SET_S:  # events are told by the new time
                    self.metrics.count("host_clock_settings")
                    _log.warning("this machine's clock was set by %.0f s", utc_ahead_s - before_s)
                for camera, detector in detectors.items():
                    self._write(detector.open())
                    self._close_after_silence(camera, detector)
        for camera, detector in detectors.items():
            self._write(detector.flush("stop"))
            self._views[camera] = View(self.view(camera).prediction, ())

    def _utc_ahead_s(self) -> float:
        """Of the monotonic clock: constant, until somebody sets the clock."""
        return self._now_utc().timestamp() - self._now()

    def _weigh(self, prediction: Prediction, detectors: dict[str, Detector]) -> None:
        camera, before = prediction.camera, self.view(prediction.camera).prediction
        if before is not None and prediction.end_s < before.end_s:
            self.metrics.count("overtaken_predictions", camera)  # by one of another worker
            return
        if camera not in detectors:
            assert self.spec is not None  # a prediction came, so a worker said hello
            detectors[camera] = Detector(
                camera, self.config.events, self.spec.background, gap_s=self._gap_s
            )
        began = self._now()
        changed = detectors[camera].update(prediction)
        self._views[camera] = View(prediction, tuple(detectors[camera].open()))
        self.metrics.measure("age", self._now() - prediction.newest_at)
        self.metrics.measure("inference", prediction.inference_s)
        self._write(changed)
        self.metrics.measure("judge", self._now() - began)

    def _close_after_silence(self, camera: str, detector: Detector) -> None:
        """Without predictions nobody knows whether an event still goes on."""
        prediction = self.view(camera).prediction
        if prediction is not None and self._now() - prediction.newest_at > self._gap_s:
            self._write(detector.flush("gap"))
            self._views[camera] = View(prediction, ())

    @property
    def _gap_s(self) -> float:
        # A large model on a small machine may need as long as its clips last.
        return max(_SHORTEST_GAP_S, self.spec.span_s if self.spec else 0.0)

    def _finished(self) -> bool:
        """Whether the judge has seen all that will come. Tells `over` when sources have ended."""
        if self._judge_stop.is_set():
            return self._predictions.empty()
        if not self.over.is_set() and all(camera.over for camera in self.cameras.values()):
            none_works = all(camera.state == FAILED for camera in self.cameras.values())
            if none_works or self._all_scored():
                self.over.set()
        return False

    def _all_scored(self) -> bool:
        # In this order: what the scheduler has done with is in the queue or was judged.
        return self._scheduler.idle and self._predictions.empty()

    def _write(self, events: list[Event]) -> None:
        for event in events:
            key = (event.camera, event.label)
            is_new = key not in self._began
            if is_new:
                self._began[key] = self._time_zero(event.camera)
            assert self.spec is not None  # see _weigh
            self._event_log.write(event, began_utc=self._began[key], model=self.spec.model)
            if is_new:
                self.metrics.count("events", event.camera)
                _log.info("%s: %s at %.1f s", event.camera, event.label, event.start_s)
            if event.end_s is not None:
                del self._began[key]

    def _time_zero(self, stream: str) -> datetime:
        """UTC of time 0 of a stream's camera, by the clocks as they are now.

        Asked anew for each event: in a run of weeks clocks drift, are set, and sleep.
        """
        began_at = self.cameras[camera_of(stream)].began_at
        assert began_at is not None  # it gave frames, or there would be no event
        return self._now_utc() - timedelta(seconds=self._now() - began_at)


def _joiner(thread: threading.Thread) -> Callable[[float], bool]:
    def join(timeout_s: float) -> bool:
        thread.join(timeout_s)
        return not thread.is_alive()

    return join
