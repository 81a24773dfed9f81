"""The one file that joins the parts: `with Pipeline(config) as p`.

Threads: one for each camera (capture), one for the scheduler (owns the workers' socket), one
that judges predictions, one that writes the event log, one for each local worker; and those of the
recorder, the alerts and the publisher where they are wanted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from stream.capture.camera import Camera
from stream.capture.latest_frame import WIDEST
from stream.capture.manager import Cameras, Exchange
from stream.config.config import CameraConfig, Config
from stream.config.diff import Changes, check_labels, compare
from stream.config.load import ConfigError
from stream.events.processor import Film, Judge, View
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.runtime.metrics import Metrics
from stream.runtime.recent_logs import LatestTroubles, Trouble
from stream.runtime.thread_limits import for_capture
from stream.scheduling.scheduler import Scheduler
from stream.sessions.manager import Guests
from stream.sinks.build import Keeping
from stream.sinks.subscribers import Listeners
from stream.sources.opencv_capture import SourceError
from stream.workers.curve_auth import watch_keys
from stream.workers.launcher import worker_command
from stream.workers.pool import Crew
from stream.workers.transport import SchedulerEnd

_log = logging.getLogger(__name__)
_STOP_WITHIN_S = 2.5
_STUCK_S = 10.0  # without a sign of life
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
        self._changing = threading.Lock()  # one change at a time, and none once it stops
        self._troubles = LatestTroubles()
        self._listeners = Listeners(self.metrics)
        at_once = _FILMS_AT_ONCE if films else None
        self._cameras = Cameras(config.cameras, self._camera, at_once=at_once)
        self.guests = Guests(
            config.dashboard.visitors.most,
            config.events,
            self.metrics,
            serve=lambda name, guest: self._scheduler.add(name, guest, guest=True),
            dismiss=lambda name: self._scheduler.remove(name),
            on_frame=self._on_frame,
            now=now,
        )
        self._judge = Judge(
            self.cameras,
            config.events,
            self.metrics,
            on_event=self._on_event,
            on_prediction=self._on_judged,
            on_finished=self._on_finished,
            on_exchange=self._on_exchange,
            settled=self._is_settled,
            films=films,
            now=now,
            now_utc=now_utc,
        )

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """Those there are now, by name. Never changed: a change makes another mapping."""
        return self._cameras.now

    @property
    def finished(self) -> set[str]:
        """The cameras from which nothing more will come."""
        return self._cameras.finished

    @property
    def last_errors(self) -> tuple[Trouble, ...]:
        """The latest warnings and errors of the log, oldest first."""
        return self._troubles.kept

    def reconfigure(self, config: Config, *, also: Collection[str] = ()) -> Changes:
        """Take over what is different in `config` and can be changed while the watch runs.

        `also` are keys that the caller takes care of. `self.config` is what is in force then.
        Raises ConfigError, in one line, for what can't work; then nothing is changed at all.
        Any thread but the watch's own may call it.
        """
        with self._changing:
            if self._films or self.over.is_set() or self._stop_by is not None:
                raise ConfigError("the watch is ending; nothing was changed")
            merged, changes = compare(self.config, config, also=also)
            try:
                check_labels(merged, self.config, self.spec)
                planned = self._cameras.plan(merged.cameras)
            except (ConfigError, SourceError) as error:
                raise ConfigError(f"{error}; nothing was changed") from error
            before, self.config = self.config, merged
            self._take_over(before, planned)
        _log.info("configuration: %s", changes)
        return changes

    def _take_over(self, before: Config, planned: Exchange) -> None:
        config = self.config
        for camera in planned.gone:
            for stream in camera.streams:
                self._scheduler.remove(stream.name)
        # Before the first prediction of those that come.
        self._judge.change(planned.now, config.events)
        for camera in planned.new:
            for stream in camera.streams:
                self._scheduler.add(stream.name, stream)
        if planned:
            self._cameras.carry_out(planned)
            self._end_if_finished()
        if config.window != before.window:
            self._scheduler.keep_to(config.window.stride)
        self.guests.heed(config.dashboard.visitors.most, config.events)
        self._keeping.heed(config.events, config.retention)

    def events(self) -> Iterator[LoggedEvent]:
        """The starts and ends of events, from now on, each when it is safely logged.

        Ends when the run is over. What is open when a run is stopped is closed as its `with` ends,
        and stands in the log.
        """
        return self._listeners.hear(lambda: self.over.is_set() and self._keeping.settled)

    def view(self, stream: str) -> View:
        """The latest prediction and the open events of a camera, or of "camera/zone"."""
        return self._judge.view(stream)

    def views(self, camera: str) -> dict[str, View]:
        """Those of a camera's zones by name; of the whole picture under "" where it has none."""
        watched = self.cameras.get(camera)
        return {
            stream.name.removeprefix(camera).removeprefix("/"): self.view(stream.name)
            for stream in (watched.streams if watched is not None else ())
        }

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the local workers that run now."""
        return self._crew.pids

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
            undo.enter_context(self._troubles)
            self._keeping = Keeping(
                config,
                self.metrics,
                on_written=self._listeners.tell,
                on_death=self._fail,
                prunes=not self._films,
                now=self._now,
            )
            undo.callback(self._keeping.join, self._await)
            self._link = SchedulerEnd(
                config.worker.endpoint,
                keys=watch_keys(config.worker.keys),
                malformed=lambda: self.metrics.count("malformed_messages"),
                refused=lambda: self.metrics.count("refused_workers"),
            )
            undo.callback(self._link.__exit__)
            self._keeping.start(self.cameras.values())
            undo.pop_all()
        self._crew = Crew(
            lambda number: worker_command(
                self._link.local_endpoint, config.model, config.worker, number=number
            ),
            config.worker,
            self.metrics,
            on_failure=self._fail,
            now=self._now,
        )
        self._scheduler = Scheduler(
            self._link,
            self._cameras.streams,
            self.metrics,
            stride_s=config.window.stride,
            answer_within_s=config.worker.answer_within,
            batch_wait_s=config.worker.batch_wait,
            every_window=bool(self._films),
            on_spec=self._on_spec,
            on_prediction=self._on_prediction,
            on_failure=self._crew.take_failure,
            on_hello=self._crew.take_hello,
            on_silence=self._crew.take_silence,
            now=self._now,
        )
        self._threads = [
            self._thread("scheduler", lambda: self._scheduler.run(self._stop)),
            self._thread("judge", lambda: self._judge.run(self._judge_stop)),
        ]
        for thread in self._threads:
            thread.start()
        self._cameras.start()
        self._crew.start()
        if not self._crew:
            _log.info(
                "waiting for `actionwatch worker --connect %s%s --model %s`",
                self._link.endpoint.replace("//0.0.0.0:", "//HOST:"),
                " --keys worker.keys" if config.worker.keys else "",
                config.model,
            )
        return self

    def tell_stop(self) -> None:
        """Let everything begin to stop; `__exit__` waits for it, from this moment on."""
        with self._changing:
            if self._stop_by is not None:
                return
            self._stop_by = time.monotonic() + _STOP_WITHIN_S
        self.over.set()
        self.guests.tell_stop()
        self._cameras.tell_stop()
        self._crew.tell_stop()
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
        self._cameras.join(self._await)
        self._await("worker", self._crew.join)
        self._link.__exit__()
        self._troubles.__exit__()
        if failures := self._cameras.failures:
            self._fail("; ".join(failures))

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
            hold=self._hold if self._films else None,
            widest=max(WIDEST, recording.width if recording.enabled else 0),
            now=self._now,
        )

    # On the capture threads, and on those that bring guests' pictures.
    def _on_frame(self) -> None:
        self._link.wake()

    def _hold(self, streams: Iterable[str], stop: threading.Event) -> None:
        self._scheduler.hold(streams, stop)

    # On the scheduler's thread.
    def _on_spec(self, spec: ClipSpec) -> None:
        self.spec = spec
        if not self._crew and spec.model != Path(self.config.model).name:
            _log.warning(
                "the worker that came runs model %s, not %s", spec.model, self.config.model
            )
        try:
            check_labels(self.config, self.config, spec)
        except ConfigError as error:
            self._fail(str(error))
            return
        gap_s = self._judge.gap_s(spec)
        scores = self._keeping.expect(spec, self._cameras.streams, gap_s)
        self._judge.expect(spec, scores)
        self._cameras.expect(spec)
        self.guests.expect(spec, gap_s)

    def _on_prediction(self, prediction: Prediction) -> None:
        if not self.guests.take(prediction):
            self._judge.put(prediction)

    # On the judge's thread.
    def _on_event(self, logged: LoggedEvent) -> None:
        self._keeping.take(logged)

    def _on_judged(self, prediction: Prediction) -> None:
        self._keeping.show(prediction)

    def _is_settled(self, camera: Camera) -> bool:
        return self._scheduler.idle_in(stream.name for stream in camera.streams)

    def _on_finished(self, camera: Camera) -> None:
        over = self._cameras.finish(camera)
        if self._films:
            camera.forget()
            self._cameras.start_next()
        if over:
            self.over.set()

    def _on_exchange(self, gone: list[Camera], new: list[Camera]) -> None:
        self._keeping.exchange(gone, new)
        self._end_if_finished()

    # On any thread: the last camera may finish while another one is taken away.
    def _end_if_finished(self) -> None:
        if self._cameras.all_finished:
            self.over.set()


def _joiner(thread: threading.Thread) -> Callable[[float], bool]:
    def join(timeout_s: float) -> bool:
        thread.join(timeout_s)
        return not thread.is_alive()

    return join
