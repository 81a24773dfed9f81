"""Connects cameras, scheduler, workers, event processor and sinks: `with Pipeline(config) as p`.

Owns no thread; its parts do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from stream.capture.camera import Camera
from stream.capture.latest_frame import DEFAULT_WIDTH
from stream.capture.manager import CameraManager
from stream.config.config import CameraConfig, Config
from stream.config.diff import check_labels
from stream.config.load import ConfigError
from stream.events.processor import EventProcessor, ScanInput
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.runtime.logs import RecentLogHandler
from stream.runtime.metrics import Metrics
from stream.runtime.processes import limit_opencv_threads
from stream.runtime.service import StopDeadline
from stream.scheduling.policy import POLICIES
from stream.scheduling.scheduler import Scheduler
from stream.sessions.manager import SessionManager
from stream.sinks.build import EventSinks
from stream.sinks.subscribers import EventBroadcaster
from stream.workers.curve_auth import server_keys
from stream.workers.launcher import WorkerSetup
from stream.workers.pool import WorkerPool
from stream.workers.transport import SchedulerSocket

_log = logging.getLogger(__name__)
_MAX_CONCURRENT_VIDEOS = 2  # one is read while the other's window is scored


class Pipeline:
    """A run from cameras to event log, between `__enter__` and `__exit__`.

    `over` is set when all sources have ended or a part failed. `failure` is the reason; after
    `__exit__` it also names the cameras that failed while others continued.
    With `scan_inputs`, by camera, all windows of video files are scored, as fast as possible. What
    is not done `stop_timeout_s` seconds after a stop, such as the last clips, is dropped.
    Raises SourceError, TransportError, EventLogError, RecorderError, PublishError or AlertError
    for a setup that can't work.
    """

    # Made by `__enter__`.
    sinks: EventSinks
    scheduler: Scheduler
    processor: EventProcessor
    worker_pool: WorkerPool

    def __init__(
        self,
        config: Config,
        *,
        scan_inputs: Mapping[str, ScanInput] | None = None,
        stop_timeout_s: float = 2.5,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.config = config
        self.metrics = Metrics(now=now)
        self.spec: ClipSpec | None = None
        self.over = threading.Event()
        self.failure = ""
        self.changing = threading.Lock()  # one reconfiguration at a time, and none during shutdown
        self.recent_logs = RecentLogHandler()
        self._now, self._now_utc = now, now_utc
        self._deadline = StopDeadline(stop_timeout_s)
        self._scan_inputs = scan_inputs or {}
        self.is_scan = bool(scan_inputs)
        self._broadcaster = EventBroadcaster(self.metrics)
        self.camera_manager = CameraManager(
            config.cameras,
            self._camera,
            on_all_finished=self.over.set,
            max_concurrent=_MAX_CONCURRENT_VIDEOS if scan_inputs else None,
        )
        self.sessions = SessionManager(
            config.dashboard.try_it.max_sessions, config.events, self.metrics, now=now
        )

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """The active cameras by name. The mapping is never changed, but replaced."""
        return self.camera_manager.active

    def events(self) -> Iterator[LoggedEvent]:
        """The starts and ends of events from now on, each after it is safely logged.

        Ends when the run is over. Events that are open at shutdown are closed by `__exit__`; their
        ends are only in the log.
        """
        return self._broadcaster.events(lambda: self.over.is_set() and self.sinks.flushed)

    def subscribe(self, callback: Callable[[LoggedEvent], None]) -> Callable[[], None]:
        """Call `callback` with the same events on the event log's thread; it must not block.

        Those that `__exit__` closes are among them. Returns a function that ends it.
        """
        return self._broadcaster.subscribe(callback)

    def __enter__(self) -> Pipeline:
        limit_opencv_threads()
        with ExitStack() as undo:
            undo.enter_context(self.recent_logs)
            self._connect(self.config, undo)
            undo.pop_all()
            undo.callback(self.__exit__)
            self._start(self.config)
            undo.pop_all()
        return self

    def _connect(self, config: Config, undo: ExitStack) -> None:
        """Make all parts, from the sinks up. `undo` stops those that hold something."""
        self.sinks = EventSinks(
            config,
            self.metrics,
            more=[self._broadcaster],
            on_failure=self._fail,
            is_scan=self.is_scan,
            now=self._now,
        )
        undo.callback(self.sinks.join, self._deadline.join)
        self._socket = SchedulerSocket(
            config.worker.endpoint,
            self.metrics,
            keys=server_keys(config.worker.keys) if config.worker.keys else None,
        )
        undo.callback(self._socket.__exit__)
        self.worker_pool = WorkerPool(
            WorkerSetup(self._socket.local_endpoint, config.model, config.worker),
            self.metrics,
            on_failure=self._fail,
            now=self._now,
        )
        self.processor = EventProcessor(
            self.camera_manager,
            config.events,
            self.metrics,
            listener=self.sinks,
            is_drained=lambda camera: self.scheduler.idle_in(camera.stream_names),
            on_crash=self._fail,
            scan_inputs=self._scan_inputs,
            now=self._now,
            now_utc=self._now_utc,
        )
        self.scheduler = Scheduler(
            self._socket,
            self.camera_manager.streams,
            self.metrics,
            stride_s=config.window.stride,
            result_timeout_s=config.worker.result_timeout,
            max_queue_delay_s=config.worker.max_queue_delay,
            policy=POLICIES["lossless" if self.is_scan else "newest_wins"],
            predictions=self,
            workers=self.worker_pool,
            on_crash=self._fail,
            now=self._now,
        )

    def _start(self, config: Config) -> None:
        self.sinks.start([*self.cameras.values()])
        self.scheduler.start()
        self.processor.start()
        self.camera_manager.start()
        self.worker_pool.start()
        if not self.worker_pool:
            _log.info(
                "waiting for `actionwatch worker --connect %s%s --model %s`",
                self._socket.endpoint.replace("//0.0.0.0:", "//HOST:"),
                " --keys worker.keys" if config.worker.keys else "",
                config.model,
            )

    def request_stop(self) -> None:
        """Ask all parts to stop. The stop timeout of `__exit__` starts now."""
        with self.changing:
            self._deadline.start()
            self.over.set()
        self.sessions.request_stop()
        self.camera_manager.request_stop()
        self.worker_pool.request_stop()
        self.scheduler.request_stop()

    def __exit__(self, *_: object) -> None:
        """Stop in the order of the data flow, so that all predictions still reach the sinks."""
        self.request_stop()
        self._deadline.join("scheduler", self.scheduler.join)
        self.processor.request_stop()
        self._deadline.join("event processor", self.processor.join, 1.0)
        self.sinks.join(self._deadline.join)
        # Last, since they may hang; their data is no longer needed.
        self.camera_manager.join(self._deadline.join)
        self._deadline.join("worker", self.worker_pool.join)
        self._socket.__exit__()
        self.recent_logs.__exit__()
        if failures := self.camera_manager.failures:
            self._fail("; ".join(failures))

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.over.set()

    def _camera(self, name: str, config: CameraConfig) -> Camera:
        recording = self.config.recording
        return Camera(
            name,
            config,
            self.metrics,
            on_frame=self._on_frame,
            paced=not self.is_scan,
            default_width=max(DEFAULT_WIDTH, recording.width if recording.enabled else 0),
            now=self._now,
        )

    # On the capture threads.
    def _on_frame(self, camera: Camera) -> None:
        self.scheduler.wake()
        if self.is_scan:
            self.scheduler.wait_for_backpressure(camera.stream_names, camera.stopping)

    # On the scheduler's thread.
    def on_model(self, spec: ClipSpec) -> None:
        """The first worker is ready with its model."""
        self.spec = spec
        if not self.worker_pool and spec.model != Path(self.config.model).name:
            _log.warning("the worker runs model %s, not %s", spec.model, self.config.model)
        try:
            check_labels(self.config, self.config, spec)
        except ConfigError as error:
            self._fail(str(error))
            return
        self.sinks.on_model(spec, [*self.camera_manager.streams])
        self.processor.on_model(spec)
        self.camera_manager.start_buffering(spec)
        self.sessions.on_model(spec, spec.event_gap_s, self.scheduler)

    def on_prediction(self, prediction: Prediction) -> None:
        """A window is scored."""
        if not self.sessions.on_prediction(prediction):
            self.processor.put(prediction)
