"""The scheduler: it answers idle workers with the windows that are due.

Its thread owns the workers' socket.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import Condition, Lock
from threading import Event as StopEvent
from typing import Protocol

from stream.messages import Clip, ClipSpec, Prediction, Scores
from stream.regions.frame_ring import NotCoveredError
from stream.runtime.metrics import Metrics
from stream.runtime.service import ServiceThread
from stream.scheduling.policy import DispatchPolicy, NewestWins
from stream.scheduling.stream_registry import StreamRegistry
from stream.scheduling.window_state import (
    ClipSource,
    CutClip,
    DueWindow,
    InFlight,
    StreamState,
    WorkerState,
)
from stream.workers.transport import SchedulerSocket
from stream.workers.wire import Batch, Failure, Hello, Identify, Message, Ready, Rejection, Result

_log = logging.getLogger(__name__)
_MAX_MESSAGES = 64  # between two dispatches: a flood of messages must not starve the workers
_MAX_LOSSES = 3  # of one window that is retried
_CAMERA_WINDOWS_PER_SESSION_WINDOW = 4  # under full load
_READY_TIMEOUT_S = 3.0  # a worker sends Ready every second; after this one it has disconnected


class PredictionListener(Protocol):
    """Receives the model's specification and its predictions, on the scheduler's thread."""

    def on_model(self, spec: ClipSpec) -> None: ...

    def on_prediction(self, prediction: Prediction) -> None: ...


class WorkerListener(Protocol):
    """Receives what workers report of themselves, on the scheduler's thread."""

    def on_hello(self, worker: bytes, devices: int) -> None:
        """A worker is ready; its machine has so many devices."""

    def on_timeout(self, worker: bytes) -> None:
        """A worker did not return its results in time."""

    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        """A worker, or with b"" any worker, can't score a window."""


class Scheduler:
    """Answers each ready worker with the newest windows that are due at that moment.

    Streams may be added and removed while it runs. Cameras have priority over browser sessions:
    one window of one session joins a batch of cameras if the worker has capacity left. Under full
    load every fifth window goes to a browser session.
    `policy` chooses among the due windows. Threads that read files wait in `wait_for_backpressure`
    until their windows are sent. `on_crash` receives the reason if the thread crashes.
    """

    def __init__(
        self,
        socket: SchedulerSocket,
        streams: Mapping[str, ClipSource],
        metrics: Metrics,
        *,
        stride_s: float,
        result_timeout_s: float,
        max_queue_delay_s: float = 0.0,
        policy: DispatchPolicy | None = None,
        predictions: PredictionListener,
        workers: WorkerListener,
        on_crash: Callable[[str], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = socket
        self._metrics = metrics
        self._result_timeout_s = result_timeout_s
        self._max_queue_delay_s = max_queue_delay_s
        self._queued_since: float | None = None  # monotonic seconds, while a batch is filling up
        self._prediction_listener, self._worker_listener = predictions, workers
        self._policy = policy or NewestWins()
        self._now = now
        self._delivery_lock = Lock()  # held while predictions are delivered; before `_lock`
        self._lock = Lock()  # `idle_in` must not see a clip between due and in flight
        self._dispatched = Condition(self._lock)  # notified after each dispatch
        self._spec: ClipSpec | None = None
        self._registry = StreamRegistry(streams, metrics, stride_s=stride_s, now=now)
        self._workers: dict[bytes, WorkerState] = {}
        self._in_flight: dict[int, InFlight] = {}
        self._retries: list[CutClip] = []
        self._undelivered: list[Prediction] = []
        self._clip_number = 0
        self._windows_since_session = 0  # windows of cameras since the last one of a session
        self.alive_at = now()  # monotonic seconds; updated several times a second while it runs
        self._thread = ServiceThread("scheduler", self._run, metrics=metrics, on_crash=on_crash)

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        self._thread.request_stop()
        self.wake()

    def join(self, timeout_s: float) -> bool:
        return self._thread.join(timeout_s)

    def wake(self) -> None:
        """There are new frames. Any thread may call it."""
        self._socket.wake()

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            self.alive_at = self._now()
            with self._lock:
                for _ in range(_MAX_MESSAGES):
                    received = self._socket.receive()
                    if received is None:
                        break
                    self._handle(*received)
                self._dispatch()
                self._expire_clips()
                self._dispatched.notify_all()
            with self._delivery_lock:
                with self._lock:
                    undelivered = list(self._undelivered)
                for prediction in undelivered:  # without `_lock`: the callback may need it
                    self._prediction_listener.on_prediction(prediction)
                with self._lock:
                    del self._undelivered[: len(undelivered)]
            # Frames and messages wake it; the timeout is for deadlines.
            self._socket.wait(timeout_s=min(0.2, self._queue_delay_left_s()))
        self._count_remaining()

    def add(self, name: str, source: ClipSource, *, is_browser_session: bool = False) -> None:
        """Serve another stream. Any thread may call it, `remove` and `set_stride`."""
        with self._lock:
            self._registry.add(name, source, is_browser_session=is_browser_session)

    def remove(self, name: str) -> None:
        """Stop serving a stream. None of its predictions is delivered after this returns."""
        with self._delivery_lock, self._lock:
            self._registry.remove(name)
            self._undelivered = [one for one in self._undelivered if one.camera != name]
            self._retries = [retry for retry in self._retries if retry.stream.name != name]
            self._dispatched.notify_all()

    def set_stride(self, stride_s: float) -> None:
        """Let windows end at multiples of another stride from now on."""
        with self._lock:
            self._registry.set_stride(stride_s)

    def idle_in(self, streams: Iterable[str]) -> bool:
        """Whether all due windows of these streams have results. Thread-safe."""
        with self._lock:
            names = set(streams)
            undelivered = {prediction.camera for prediction in self._undelivered}
            if names & (self._in_flight_streams() | undelivered):
                return False
            return not any(self._registry.due_window(name, self._spec) for name in names)

    def wait_for_backpressure(self, streams: Iterable[str], stop: StopEvent) -> None:
        """Block a capture thread until none of its streams has a window waiting for a worker."""
        names = tuple(streams)
        with self._dispatched:
            while not stop.is_set() and any(
                self._registry.due_window(name, self._spec) for name in names
            ):
                self._dispatched.wait(0.5)

    @property
    def in_flight(self) -> int:
        """The number of clips in flight. Thread-safe."""
        return len(self._in_flight)

    @property
    def workers(self) -> int:
        """The number of workers that are ready or have clips. Thread-safe."""
        with self._lock:
            busy = {sent.worker for sent in self._in_flight.values()}
            recent = self._now() - _READY_TIMEOUT_S
            return sum(
                worker.ready_at > recent or identity in busy
                for identity, worker in self._workers.items()
            )

    def _handle(self, identity: bytes, message: Message) -> None:
        worker = self._workers.get(identity)
        if isinstance(message, Hello):
            self._register(identity, message)
        elif isinstance(message, Failure):
            if self._spec is None:
                self._worker_listener.on_worker_failure(identity, message.reason)
            else:  # other workers may be fine: one failed worker doesn't end the run
                self._metrics.count("worker_failures")
                _log.warning("a worker failed: %s", message.reason)
        elif worker is None:
            self._socket.send(identity, Identify())
        elif isinstance(message, Ready):
            worker.capacity = self._policy.batch_size(message.capacity)
            worker.ready_at = self._now()
        elif isinstance(message, Result):
            for scores in message.scores:
                self._handle_scores(identity, scores)
        else:
            self._metrics.count("malformed_messages")
            self._socket.send(identity, Rejection("a worker sends hello, ready, result or failure"))

    def _register(self, identity: bytes, hello: Hello) -> None:
        spec = hello.spec
        if self._spec is None:
            self._spec = spec
            _log.info("model %s: %d frames over %.2f s", spec.model, spec.frames, spec.span_s)
            self._prediction_listener.on_model(spec)
        if spec != self._spec:
            _log.warning("rejected a worker with another model: %s", spec.model)
            reason = f"this run uses another model, {self._spec.model}"
            self._socket.send(identity, Rejection(reason))
            return
        # A second hello comes from a restarted worker, which has lost its clips.
        self._lose_clips(lambda sent: sent.worker == identity)
        self._workers[identity] = WorkerState(ready_at=self._now())
        self._worker_listener.on_hello(identity, hello.devices)

    def _handle_scores(self, identity: bytes, scores: Scores) -> None:
        sent = self._in_flight.get(scores.number)
        if sent is None or sent.worker != identity:
            self._metrics.count("late_results")
            return
        if not self._registry.is_active(sent.stream):
            del self._in_flight[scores.number]
            self._metrics.count("orphaned_results", sent.stream.metrics_label)
            return
        assert self._spec is not None  # clips are cut to it
        labels = self._spec.labels
        if len(scores.probabilities) != len(labels):
            self._metrics.count("malformed_messages")
            self._socket.send(identity, Rejection(f"{len(labels)} probabilities expected"))
            return
        del self._in_flight[scores.number]
        received_at = self._now()
        self._metrics.measure("transport", received_at - sent.sent_at - scores.inference_s)
        self._metrics.count("windows", sent.stream.metrics_label)
        self._undelivered.append(
            Prediction(
                camera=sent.stream.name,
                labels=labels,
                probabilities=scores.probabilities,
                start_s=float(sent.times[0]),
                end_s=float(sent.times[-1]),
                newest_at=sent.newest_at,
                inference_s=scores.inference_s,
                sent_at=sent.sent_at,
                received_at=received_at,
            )
        )

    def _dispatch(self) -> None:
        ready = {
            identity: worker
            for identity, worker in self._workers.items()
            if worker.capacity and self._now() - worker.ready_at < _READY_TIMEOUT_S
        }
        self._send_retries(ready)
        due, sessions = self._registry.due_windows(self._spec) if ready else ([], [])
        due = self._policy.select(due, self._in_flight_streams())
        if not due and not sessions:
            self._queued_since = None
            return
        if not self._should_send(len(due), sum(worker.capacity for worker in ready.values())):
            return
        for number, (identity, worker) in enumerate(ready.items()):
            # Divide the windows evenly, so that the last one is done as early as possible.
            share = min(worker.capacity, math.ceil(len(due) / (len(ready) - number)))
            selected: list[DueWindow] = []
            # One at a time: more would delay the cameras.
            if sessions and (
                share < worker.capacity
                or self._windows_since_session >= _CAMERA_WINDOWS_PER_SESSION_WINDOW
            ):
                selected, share = [sessions.pop(0)], min(share, worker.capacity - 1)
            self._windows_since_session = share if selected else self._windows_since_session + share
            selected, due = [*due[:share], *selected], due[share:]
            if cut := self._cut_clips(selected):
                self._send_batch(identity, worker, cut)

    def _in_flight_streams(self) -> set[str]:
        """The streams with a clip that is in flight or waits for a retry."""
        sent = {sent.stream.name for sent in self._in_flight.values()}
        return sent | {retry.stream.name for retry in self._retries}

    def _send_retries(self, ready: dict[bytes, WorkerState]) -> None:
        for identity in [*ready][: len(self._retries)]:
            retry = self._retries.pop(0)
            self._metrics.count("resent_windows", retry.stream.metrics_label)
            self._send_batch(identity, ready.pop(identity), [retry])

    def _send_batch(self, identity: bytes, worker: WorkerState, batch: Sequence[CutClip]) -> None:
        worker.capacity, sent_at = 0, self._now()
        is_sent = self._socket.send(identity, Batch(tuple(cut.clip for cut in batch)))
        for cut in batch:
            retry = cut if self._policy.retries else None
            if is_sent:
                self._in_flight[cut.clip.number] = InFlight(
                    cut.stream, cut.clip.times, cut.newest_at, identity, sent_at, retry
                )
            else:
                self._lose_clip(cut.stream, retry)

    def _should_send(self, due: int, capacity: int) -> bool:
        """Whether a batch of `due` windows is sent now, or waits until it is full."""
        if self._queued_since is None:
            self._queued_since = self._now()
        full = min(capacity, self._registry.connected_cameras)
        if due < full and self._queue_delay_left_s() > 0:
            return False
        self._queued_since = None
        return True

    def _queue_delay_left_s(self) -> float:
        """How long a batch may still wait until it is full; infinite if none waits."""
        if self._queued_since is None:
            return math.inf
        return max(0.0, self._queued_since + self._max_queue_delay_s - self._now())

    def _cut_clips(self, windows: Iterable[DueWindow]) -> list[CutClip]:
        cut = []
        for due in windows:
            try:
                frames, times, newest_at = due.ring.window(due.times)
            except NotCoveredError:  # the ring advanced or was cleared since the window was due
                continue
            self._registry.assign(due)
            self._clip_number += 1
            clip = Clip(due.stream.name, self._clip_number, frames, times)
            cut.append(CutClip(due.stream, clip, newest_at))
        return cut

    def _expire_clips(self) -> None:
        """Drop clips whose worker crashed or hangs, so that they are counted as lost."""
        now = self._now()
        late = {
            sent.worker
            for sent in self._in_flight.values()
            if now - sent.sent_at > self._result_timeout_s
        }
        self._lose_clips(lambda sent: sent.worker in late)
        for identity in late:
            self._worker_listener.on_timeout(identity)
        for identity, worker in list(self._workers.items()):
            if now - worker.ready_at > 10 * _READY_TIMEOUT_S + self._result_timeout_s:
                del self._workers[identity]

    def _count_remaining(self) -> None:
        """At shutdown: count clips in flight and windows that no worker got."""
        with self._lock:  # browser sessions may still open and close
            for sent in self._in_flight.values():
                if self._registry.is_active(sent.stream) and not sent.stream.is_browser_session:
                    self._metrics.count("unanswered_windows", sent.stream.name)
            self._registry.skip_remaining(self._spec)

    def _lose_clips(self, is_lost: Callable[[InFlight], bool]) -> None:
        for number, sent in list(self._in_flight.items()):
            if is_lost(sent):
                del self._in_flight[number]
                self._lose_clip(sent.stream, sent.retry)

    def _lose_clip(self, stream: StreamState, retry: CutClip | None) -> None:
        if not self._registry.is_active(stream):
            return
        if retry is None:
            self._metrics.count("lost_windows", stream.metrics_label)
            return
        retry = replace(retry, losses=retry.losses + 1)
        self._retries.append(retry)
        if retry.losses == _MAX_LOSSES:
            self._worker_listener.on_worker_failure(
                b"",
                f"a window of {stream.name} was not scored in {_MAX_LOSSES} tries; is the "
                f"{self._result_timeout_s:g} s of worker.result_timeout long enough for the model?",
            )
