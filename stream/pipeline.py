"""The one file that joins the parts: `with Pipeline(config) as p`.

Threads: one for each camera (capture), one for the scheduler (owns the workers' socket), one
that judges predictions, one that writes the event log, one for each local worker; and those of the
recorder, the alerts and the publisher where they are wanted.
"""

from __future__ import annotations

import logging
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from stream.capture import FAILED, Camera
from stream.config import Config
from stream.judge import Film, Judge, View
from stream.keeping import Keeping
from stream.keeping_config import missing_label
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.metrics import Metrics
from stream.picture import WIDEST
from stream.scheduler import Scheduler
from stream.supervisor import LocalWorkers, worker_command
from stream.threads import for_capture
from stream.transport import SchedulerEnd

_log = logging.getLogger(__name__)
_STOP_WITHIN_S = 2.5
_MOST_DEATHS, _DEATHS_WITHIN_S = 5, 300.0  # of a worker, until its trouble is taken for lasting
_STUCK_S = 10.0  # without a sign of life
_MOST_UNHEARD = 1000  # events that wait for whoever iterates over them
_FILMS_AT_ONCE = 2  # one is read while the other's window is scored


class Pipeline:
    """A watch from cameras to event log, running between `__enter__` and `__exit__`.

    `over` is set when nothing more will happen: all sources have ended, or something failed.
    `failure` says what; after `__exit__` also which cameras failed while others went on.
    With `films`, by camera, its recorded files are scanned: every window is scored, as fast as that
    can be done, a few files at a time.
    Raises SourceError, TransportError or EventLogError for what can't work from the start.
    """

    def __init__(
        self,
        config: Config,
        *,
        films: Mapping[str, Film] | None = None,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.config = config
        self.metrics = Metrics(now=now)
        self.spec: ClipSpec | None = None
        self.over = threading.Event()
        self.failure = ""
        self._now = now
        self._stop = threading.Event()  # of the scheduler
        self._judge_stop = threading.Event()
        self._stop_by: float | None = None
        self._films = films or {}
        self._deaths: list[float] = []  # of local workers, monotonic seconds
        self._socket_folder: Path | None = None
        self._listeners: list[queue.Queue[LoggedEvent]] = []
        self.finished: set[str] = set()  # cameras from which nothing more will come
        self.cameras = {
            name: Camera(
                name,
                camera,
                self.metrics,
                on_frame=self._on_frame,
                hold=self._hold if films else None,
                widest=max(WIDEST, config.recording.width if config.recording.enabled else 0),
                now=now,
            )
            for name, camera in config.cameras.items()
        }
        self._waiting_films = list(self.cameras.values()) if films else []
        self._judge = Judge(
            self.cameras,
            config.events,
            self.metrics,
            on_event=self._on_event,
            on_prediction=self._on_judged,
            on_finished=self._on_finished,
            settled=self._is_settled,
            films=films,
            now=now,
            now_utc=now_utc,
        )

    def events(self) -> Iterator[LoggedEvent]:
        """The starts and ends of events, from now on, each when it is safely logged.

        Ends when the run is over. What is open when a run is stopped is closed as its `with` ends,
        and stands in the log.
        """
        heard: queue.Queue[LoggedEvent] = queue.Queue(_MOST_UNHEARD)
        self._listeners.append(heard)
        return self._hear(heard)

    def _hear(self, heard: queue.Queue[LoggedEvent]) -> Iterator[LoggedEvent]:
        try:
            while True:
                settled = self.over.is_set() and self._keeping.settled
                try:
                    yield heard.get(timeout=0.1)
                except queue.Empty:
                    if settled:
                        return
        finally:
            self._listeners.remove(heard)

    def view(self, stream: str) -> View:
        """The latest prediction and the open events of a camera, or of "camera/zone"."""
        return self._judge.view(stream)

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
        """Which threads have not shown for long that they are alive."""
        alive_at = {"scheduler": self._scheduler.alive_at, "judge": self._judge.alive_at}
        since = self._now() - _STUCK_S
        return [name for name, moment in alive_at.items() if moment < since]

    @property
    def queues(self) -> dict[str, int]:
        """What waits now, by name."""
        return {
            "clips": self._scheduler.in_flight,
            "predictions": self._judge.waiting,
            **self._keeping.queues,
        }

    @property
    def log_away(self) -> str:
        """Why events wait in the journal now; "" where they are in the log."""
        return self._keeping.away

    @property
    def in_log(self) -> bool:
        """Whether all events so far are in the log itself, and none waits in the journal."""
        return self._keeping.in_log

    def __enter__(self) -> Pipeline:
        config = self.config
        for_capture()
        with ExitStack() as undo:
            self._keeping = Keeping(
                config,
                self.metrics,
                on_written=self._on_written,
                on_death=self._fail,
                prunes=not self._films,
                now=self._now,
            )
            undo.callback(self._keeping.join, self._await)
            undo.callback(self._remove_socket)
            self._link = SchedulerEnd(
                config.worker.endpoint or self._private_endpoint(),
                malformed=lambda: self.metrics.count("malformed_messages"),
            )
            undo.callback(self._link.__exit__)
            self._keeping.start(self.cameras.values())
            undo.pop_all()
        self._scheduler = Scheduler(
            self._link,
            {stream.name: stream for camera in self.cameras.values() for stream in camera.streams},
            self.metrics,
            stride_s=config.window.stride,
            answer_within_s=config.worker.answer_within,
            batch_wait_s=config.worker.batch_wait,
            every_window=bool(self._films),
            on_spec=self._on_spec,
            on_prediction=self._judge.put,
            on_failure=self._on_worker_failure,
            on_hello=self._on_hello,
            on_silence=self._on_silence,
            now=self._now,
        )
        self._threads = [
            self._thread("scheduler", lambda: self._scheduler.run(self._stop)),
            self._thread("judge", lambda: self._judge.run(self._judge_stop)),
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
        for camera in self.cameras.values() if not self._films else ():
            camera.start()
        for _ in range(_FILMS_AT_ONCE):
            self._start_next_film()
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
        """Stop from left to right, so that what was scored is still judged, logged and told."""
        self.tell_stop()
        scheduler, judge = self._threads
        self._await(scheduler.name, _joiner(scheduler))
        self._judge_stop.set()
        self._await(judge.name, _joiner(judge), 1.0)
        self._keeping.join(self._await)
        # Last, since they may hang; what they hold nobody needs.
        for name, camera in self.cameras.items():
            self._await(f"camera {name}", camera.join, 0.0)
        if self._local_workers:
            self._await("worker", self._local_workers.join)
        self._link.__exit__()
        self._remove_socket()
        failed = [
            camera
            for camera in self.cameras.values()
            if camera.state == FAILED or (camera.reason and camera.began_at is None)  # never there
        ]
        if failed:
            self._fail("; ".join(f"camera {camera.name}: {camera.reason}" for camera in failed))

    def _await(self, name: str, join: Callable[[float], bool], at_least_s: float = 0.1) -> bool:
        left_s = 0.0 if self._stop_by is None else self._stop_by - time.monotonic()
        ended = join(max(at_least_s, left_s))
        if not ended:
            _log.warning("%s did not stop in time", name)
        return ended

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

    def _hold(self, streams: Iterable[str], stop: threading.Event) -> None:
        self._scheduler.hold(streams, stop)

    # On the scheduler's thread, as the four below.
    def _on_spec(self, spec: ClipSpec) -> None:
        self.spec = spec
        if self._local_workers is None and spec.model != Path(self.config.model).name:
            _log.warning(
                "the worker that came runs model %s, not %s", spec.model, self.config.model
            )
        for key, labels in self.config.labels_named().items():
            if problem := missing_label(labels, spec.model, spec.labels):
                self._fail(f"{key}: {problem}")
                return
        streams = [stream.name for camera in self.cameras.values() for stream in camera.streams]
        scores = self._keeping.expect(spec, streams, self._judge.gap_s(spec))
        self._judge.expect(spec, scores)
        for camera in self.cameras.values():
            if camera not in self._waiting_films:
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

    # On the judge's thread.
    def _on_event(self, logged: LoggedEvent) -> None:
        self._keeping.take(logged)

    def _on_judged(self, prediction: Prediction) -> None:
        self._keeping.show(prediction)

    def _is_settled(self, camera: str) -> bool:
        return self._scheduler.idle_in(stream.name for stream in self.cameras[camera].streams)

    def _on_finished(self, camera: str) -> None:
        self.finished.add(camera)
        if self._films:
            self.cameras[camera].forget()
            self._start_next_film()
        if len(self.finished) == len(self.cameras):
            self.over.set()

    def _start_next_film(self) -> None:
        if self._waiting_films:
            camera = self._waiting_films.pop(0)
            if self.spec is not None:
                camera.watch(self.spec)
            camera.start()

    # On the event log's thread.
    def _on_written(self, logged: LoggedEvent) -> None:
        if logged.change == "progress":
            return
        for heard in list(self._listeners):
            try:
                heard.put_nowait(logged)
            except queue.Full:
                self.metrics.count("unheard_events", logged.event.camera)


def _joiner(thread: threading.Thread) -> Callable[[float], bool]:
    def join(timeout_s: float) -> bool:
        thread.join(timeout_s)
        return not thread.is_alive()

    return join
