"""Connects cameras, scheduler, workers, event processor and sinks: `with Pipeline(config) as p`.

Threads: one per camera (capture), the scheduler (owns the workers' socket), the event processor,
the event log's writer, one per local worker; and those of recorder, alerts and publisher if
enabled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from stream.capture.camera import Camera
from stream.capture.latest_frame import DEFAULT_WIDTH
from stream.capture.manager import CameraChanges, CameraManager
from stream.config.config import CameraConfig, Config
from stream.config.diff import Changes, check_labels, compare
from stream.config.load import ConfigError
from stream.events.processor import CameraView, EventProcessor, ScanInput
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.runtime.logs import LogEntry, RecentLogHandler
from stream.runtime.metrics import Metrics
from stream.runtime.thread_limits import limit_opencv_threads
from stream.scheduling.policy import POLICIES
from stream.scheduling.scheduler import Scheduler
from stream.sessions.manager import SessionManager
from stream.sinks.build import EventSinks
from stream.sinks.subscribers import EventBroadcaster
from stream.sources.base import SourceError
from stream.workers.curve_auth import server_keys
from stream.workers.launcher import WorkerSetup
from stream.workers.pool import WorkerPool
from stream.workers.transport import SchedulerSocket

_log = logging.getLogger(__name__)
_STOP_TIMEOUT_S = 2.5
_HUNG_AFTER_S = 10.0  # without a sign of life
_MAX_CONCURRENT_VIDEOS = 2  # one is read while the other's window is scored


class Pipeline:
    """A run from cameras to event log, between `__enter__` and `__exit__`.

    `over` is set when all sources have ended or a part failed. `failure` is the reason; after
    `__exit__` it also names the cameras that failed while others continued.
    With `scan_inputs`, by camera, video files are scanned: every window is scored, as fast as
    possible, a few files at a time.
    Raises SourceError, TransportError, EventLogError or AlertError for a setup that can't work.
    """

    def __init__(
        self,
        config: Config,
        *,
        scan_inputs: Mapping[str, ScanInput] | None = None,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.config = config
        self.metrics = Metrics(now=now)
        self.spec: ClipSpec | None = None
        self.over = threading.Event()
        self.failure = ""
        self._now = now
        self._stop_by: float | None = None
        self._scan_inputs = scan_inputs or {}
        self._config_lock = threading.Lock()  # one change at a time, and none during shutdown
        self._log_handler = RecentLogHandler()
        self._broadcaster = EventBroadcaster(self.metrics)
        max_concurrent = _MAX_CONCURRENT_VIDEOS if scan_inputs else None
        self._cameras = CameraManager(config.cameras, self._camera, max_concurrent=max_concurrent)
        self.sessions = SessionManager(
            config.dashboard.try_it.max_sessions,
            config.events,
            self.metrics,
            now=now,
        )
        self._processor = EventProcessor(
            self.cameras,
            config.events,
            self.metrics,
            listener=self,
            is_drained=self._is_drained,
            on_crash=self._fail,
            scan_inputs=scan_inputs,
            now=now,
            now_utc=now_utc,
        )

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """The active cameras by name. The mapping is never changed, but replaced."""
        return self._cameras.active

    @property
    def finished(self) -> set[str]:
        """The cameras that deliver no more frames."""
        return self._cameras.finished

    @property
    def recent_logs(self) -> tuple[LogEntry, ...]:
        """The latest warnings and errors of the log, oldest first."""
        return self._log_handler.entries

    def reconfigure(self, config: Config, *, also: Collection[str] = ()) -> Changes:
        """Apply the differences in `config` that can be changed during a run.

        `also` are keys that the caller applies. Afterwards `self.config` is the active one.
        Raises ConfigError, in one line, for an invalid change; then nothing is changed.
        Any thread may call it, except those of the pipeline.
        """
        with self._config_lock:
            if self._scan_inputs or self.over.is_set() or self._stop_by is not None:
                raise ConfigError("shutting down; configuration not changed")
            merged, changes = compare(self.config, config, also=also)
            try:
                check_labels(merged, self.config, self.spec)
                planned = self._cameras.plan(merged.cameras)
            except (ConfigError, SourceError) as error:
                raise ConfigError(f"{error}; nothing was changed") from error
            before, self.config = self.config, merged
            self._apply_config(before, planned)
        _log.info("configuration: %s", changes)
        return changes

    def _apply_config(self, before: Config, planned: CameraChanges) -> None:
        config = self.config
        for camera in planned.removed:
            for stream in camera.streams:
                self._scheduler.remove(stream.name)
        # Before the first prediction of the added cameras.
        self._processor.update(planned.active, config.events)
        for camera in planned.added:
            for stream in camera.streams:
                self._scheduler.add(stream.name, stream)
        if planned:
            self._cameras.apply_changes(planned)
            self._end_if_finished()
        if config.window != before.window:
            self._scheduler.set_stride(config.window.stride)
        self.sessions.update_config(config.dashboard.try_it.max_sessions, config.events)
        self._sinks.update_config(config)

    def events(self) -> Iterator[LoggedEvent]:
        """The starts and ends of events from now on, each after it is safely logged.

        Ends when the run is over. Events that are open at shutdown are closed by `__exit__`; their
        ends are only in the log.
        """
        return self._broadcaster.events(lambda: self.over.is_set() and self._sinks.flushed)

    def subscribe(self, callback: Callable[[LoggedEvent], None]) -> Callable[[], None]:
        """Call `callback` with the same events on the event log's thread; it must not block.

        Those that `__exit__` closes are among them. Returns a function that ends it.
        """
        return self._broadcaster.subscribe(callback)

    def view(self, stream: str) -> CameraView:
        """The latest prediction and the open events of a camera, or of "camera/zone"."""
        return self._processor.view(stream)

    def views(self, camera: str) -> dict[str, CameraView]:
        """The views of a camera's zones by name; without zones, of the whole frame under ""."""
        found = self.cameras.get(camera)
        return {
            stream.name.removeprefix(camera).removeprefix("/"): self.view(stream.name)
            for stream in (found.streams if found is not None else ())
        }

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the running local workers."""
        return self._worker_pool.pids

    @property
    def workers(self) -> int:
        """The number of workers that are ready or have clips."""
        return self._scheduler.workers

    @property
    def hung_threads(self) -> list[str]:
        """The names of threads without a sign of life for 10 s."""
        alive_at = {
            "scheduler": self._scheduler.alive_at,
            "event processor": self._processor.alive_at,
        }
        since = self._now() - _HUNG_AFTER_S
        return [name for name, at in alive_at.items() if at < since]

    @property
    def queues(self) -> dict[str, int]:
        """Queue lengths by name."""
        return {
            "clips": self._scheduler.in_flight,
            "predictions": self._processor.queued,
            **self._sinks.queues,
        }

    @property
    def log_unavailable_reason(self) -> str:
        """Why events are in the journal and not in the database; "" if none is."""
        return self._sinks.log_unavailable_reason

    @property
    def in_database(self) -> bool:
        """Whether all events so far are in the database, and none in the journal."""
        return self._sinks.in_database

    def __enter__(self) -> Pipeline:
        config = self.config
        limit_opencv_threads()
        with ExitStack() as undo:
            undo.enter_context(self._log_handler)
            self._sinks = EventSinks(
                config,
                self.metrics,
                more=[self._broadcaster],
                on_failure=self._fail,
                is_scan=bool(self._scan_inputs),
                now=self._now,
            )
            undo.callback(self._sinks.join, self._join)
            self._socket = SchedulerSocket(
                config.worker.endpoint,
                keys=server_keys(config.worker.keys),
                on_malformed=lambda: self.metrics.count("malformed_messages"),
                on_rejected=lambda: self.metrics.count("rejected_workers"),
            )
            undo.callback(self._socket.__exit__)
            self._worker_pool = WorkerPool(
                WorkerSetup(self._socket.local_endpoint, config.model, config.worker),
                self.metrics,
                on_failure=self._fail,
                now=self._now,
            )
            self._sinks.start([*self.cameras.values()])
            undo.pop_all()
        self._scheduler = Scheduler(
            self._socket,
            self._cameras.streams,
            self.metrics,
            stride_s=config.window.stride,
            result_timeout_s=config.worker.result_timeout,
            max_queue_delay_s=config.worker.max_queue_delay,
            policy=POLICIES["lossless" if self._scan_inputs else "newest_wins"],
            predictions=self,
            workers=self._worker_pool,
            on_crash=self._fail,
            now=self._now,
        )
        try:
            self._start(config)
        except BaseException:  # else threads, sockets and the folder's lock would stay
            self.__exit__()
            raise
        return self

    def _start(self, config: Config) -> None:
        self._scheduler.start()
        self._processor.start()
        self._cameras.start()
        self._worker_pool.start()
        if not self._worker_pool:
            _log.info(
                "waiting for `actionwatch worker --connect %s%s --model %s`",
                self._socket.endpoint.replace("//0.0.0.0:", "//HOST:"),
                " --keys worker.keys" if config.worker.keys else "",
                config.model,
            )

    def request_stop(self) -> None:
        """Ask all parts to stop. The stop timeout of `__exit__` starts now."""
        with self._config_lock:
            if self._stop_by is not None:
                return
            self._stop_by = time.monotonic() + _STOP_TIMEOUT_S
        self.over.set()
        self.sessions.request_stop()
        self._cameras.request_stop()
        self._worker_pool.request_stop()
        self._scheduler.request_stop()

    def __exit__(self, *_: object) -> None:
        """Stop in the order of the data flow, so that all predictions still reach the sinks."""
        self.request_stop()
        self._join("scheduler", self._scheduler.join)
        self._processor.request_stop()
        self._join("event processor", self._processor.join, 1.0)
        self._sinks.join(self._join)
        # Last, since they may hang; their data is no longer needed.
        self._cameras.join(self._join)
        self._join("worker", self._worker_pool.join)
        self._socket.__exit__()
        self._log_handler.__exit__()
        if failures := self._cameras.failures:
            self._fail("; ".join(failures))

    def _join(self, name: str, join: Callable[[float], bool], min_timeout_s: float = 0.1) -> bool:
        left_s = 0.0 if self._stop_by is None else self._stop_by - time.monotonic()
        ended = join(max(min_timeout_s, left_s))
        if not ended:
            _log.warning("%s did not stop in time", name)
        return ended

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.over.set()

    def _camera(self, name: str, config: CameraConfig) -> Camera:
        recording = self.config.recording
        return Camera(
            name,
            config,
            self.metrics,
            on_frame=self._on_camera_frame,
            paced=not self._scan_inputs,
            default_width=max(DEFAULT_WIDTH, recording.width if recording.enabled else 0),
            now=self._now,
        )

    # On the capture threads.
    def _on_camera_frame(self, camera: Camera) -> None:
        self._scheduler.wake()
        if self._scan_inputs:
            self._scheduler.wait_for_backpressure(
                [stream.name for stream in camera.streams], camera.stopping
            )

    # On the scheduler's thread.
    def on_model(self, spec: ClipSpec) -> None:
        """The first worker is ready with its model."""
        self.spec = spec
        if not self._worker_pool and spec.model != Path(self.config.model).name:
            _log.warning(
                "the connected worker runs model %s, not %s", spec.model, self.config.model
            )
        try:
            check_labels(self.config, self.config, spec)
        except ConfigError as error:
            self._fail(str(error))
            return
        self._sinks.on_model(spec, [*self._cameras.streams])
        self._processor.on_model(spec)
        self._cameras.start_buffering(spec)
        self.sessions.on_model(spec, spec.event_gap_s, self._scheduler)

    def on_prediction(self, prediction: Prediction) -> None:
        """A window is scored."""
        if not self.sessions.on_prediction(prediction):
            self._processor.put(prediction)

    # On the event processor's thread.
    def on_event(self, logged: LoggedEvent) -> None:
        """An event started, goes on or has ended."""
        self._sinks.on_event(logged)

    def on_processed(self, prediction: Prediction, end_utc: datetime) -> None:
        """A prediction was processed."""
        self._sinks.on_prediction(prediction, end_utc)

    def on_gap(self, stream: str, end_s: float, end_utc: datetime) -> None:
        """All events of a stream were closed."""
        self._sinks.on_gap(stream, end_s, end_utc)

    def _is_drained(self, camera: Camera) -> bool:
        return self._scheduler.idle_in(stream.name for stream in camera.streams)

    def on_camera_finished(self, camera: Camera) -> None:
        """All windows of a camera that ended are processed."""
        self._sinks.on_camera_finished(camera)
        over = self._cameras.finish(camera)
        if self._scan_inputs:
            camera.release_buffers()
            self._cameras.start_next()
        if over:
            self.over.set()

    def on_cameras_changed(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        """Cameras were removed and added."""
        self._sinks.on_cameras(removed, added)
        self._end_if_finished()

    # On any thread: the last camera may finish while another one is removed.
    def _end_if_finished(self) -> None:
        if self._cameras.all_finished:
            self.over.set()
