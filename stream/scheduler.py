"""The thread that answers workers with the windows that are due.

`Scheduler.run` owns the scheduler's end of the line: one thread calls it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Condition, Lock
from threading import Event as StopEvent

from stream.dispatch import Asking, Due, InFlight, Lost, Watched
from stream.messages import Clip, ClipSpec, Prediction, Scores
from stream.metrics import Metrics
from stream.ring import NotCoveredError
from stream.transport import SchedulerEnd
from stream.window_grid import WindowGrid
from stream.wire import Answer, Ask, Failure, Hello, Message, Refusal, Who, Work

_log = logging.getLogger(__name__)
_MOST_HEARD = 64  # messages between two rounds of work: a flood must not starve the workers
_MOST_LOST = 3  # times that a window is lost where every one counts
_ASK_HOLDS_S = 3.0  # a worker asks again every second; one that doesn't has gone


class Scheduler:
    """Answers each worker that asks with the freshest windows that are due at that moment.

    With `every_window` it is the worker that sets the pace: whoever brings frames waits in `hold`,
    of each stream one window at a time is under way, and one that is lost is sent again.
    """

    def __init__(
        self,
        link: SchedulerEnd,
        streams: Mapping[str, Watched],
        metrics: Metrics,
        *,
        stride_s: float,
        answer_within_s: float,
        batch_wait_s: float = 0.0,
        every_window: bool = False,
        on_spec: Callable[[ClipSpec], None],
        on_prediction: Callable[[Prediction], None],
        on_failure: Callable[[bytes, str], None],
        on_hello: Callable[[bytes, int], None] = lambda worker, devices: None,
        on_silence: Callable[[bytes], None] = lambda worker: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._streams = streams
        self._metrics = metrics
        self._answer_within_s = answer_within_s
        self._batch_wait_s = batch_wait_s
        self._waiting_since: float | None = None  # monotonic seconds, while windows wait for others
        self._on_spec, self._on_prediction = on_spec, on_prediction
        self._on_failure, self._on_hello, self._on_silence = on_failure, on_hello, on_silence
        self._now = now
        self._every_window = every_window
        self._lock = Lock()  # so that no clip is between due and under way when `idle` looks
        self._round = Condition(self._lock)  # told after each round of work
        self._spec: ClipSpec | None = None
        self._grids = {name: WindowGrid(stride_s) for name in streams}
        self._workers: dict[bytes, Asking] = {}
        self._in_flight: dict[int, InFlight] = {}
        self._again: list[Lost] = []
        self._ready: list[Prediction] = []  # not passed on yet
        self._number = 0
        self.alive_at = now()  # monotonic seconds; while it runs, renewed several times a second

    def run(self, stop: StopEvent) -> None:
        """Serve workers until `stop`. Owns the link: call it from one thread only."""
        while not stop.is_set():
            self.alive_at = self._now()
            with self._lock:
                for _ in range(_MOST_HEARD):
                    heard = self._link.receive()
                    if heard is None:
                        break
                    self._hear(*heard)
                self._give_work()
                self._give_up_lost()
                self._round.notify_all()
                ready = list(self._ready)
            for prediction in ready:  # without the lock: whoever takes them may need it
                self._on_prediction(prediction)
            with self._lock:
                del self._ready[: len(ready)]
            # Frames and messages wake it; the time-out is for deadlines.
            self._link.wait(timeout_s=min(0.2, self._waits_s()))
        self._count_what_is_left()

    @property
    def idle(self) -> bool:
        """Whether everything that was due is answered. Any thread may ask."""
        return self.idle_in(self._streams)

    def idle_in(self, streams: Iterable[str]) -> bool:
        """Whether everything that was due in these streams is answered. Any thread may ask."""
        with self._lock:
            names = set(streams)
            ready = {prediction.camera for prediction in self._ready}
            return not names & (self._under_way() | ready | {due.camera for due in self._due()})

    def hold(self, streams: Iterable[str], stop: StopEvent) -> None:
        """Wait until no window of these streams waits for a worker. For the thread of frames."""
        names = tuple(streams)
        with self._round:
            while not stop.is_set() and any(self._due_of(name) for name in names):
                self._round.wait(0.5)

    @property
    def in_flight(self) -> int:
        """Clips that workers have. Any thread may ask, as below."""
        return len(self._in_flight)

    @property
    def workers(self) -> int:
        """Those that asked of late, or have clips."""
        with self._lock:
            holding = {sent.worker for sent in self._in_flight.values()}
            recent = self._now() - _ASK_HOLDS_S
            return sum(
                worker.asked_at > recent or identity in holding
                for identity, worker in self._workers.items()
            )

    def _hear(self, identity: bytes, message: Message) -> None:
        worker = self._workers.get(identity)
        if isinstance(message, Hello):
            self._welcome(identity, message)
        elif isinstance(message, Failure):
            if self._spec is None:
                self._on_failure(identity, message.reason)
            else:  # others may be at work: one that can't is no reason to stop them
                self._metrics.count("worker_failures")
                _log.warning("a worker can't work: %s", message.reason)
        elif worker is None:
            self._link.send(identity, Who())
        elif isinstance(message, Ask):
            # One by one where every window counts: what a clip is scored with may change its score.
            worker.room = 1 if self._every_window else message.room
            worker.asked_at = self._now()
        elif isinstance(message, Answer):
            for scores in message.scores:
                self._take_scores(identity, scores)
        else:
            self._metrics.count("malformed_messages")
            self._link.send(identity, Refusal("a worker sends hello, ask, answer or failure"))

    def _welcome(self, identity: bytes, hello: Hello) -> None:
        spec = hello.spec
        if self._spec is None:
            self._spec = spec
            _log.info("model %s: %d frames over %.2f s", spec.model, spec.frames, spec.span_s)
            self._on_spec(spec)
        if spec != self._spec:
            _log.warning("refused a worker with another model: %s", spec.model)
            self._link.send(identity, Refusal(f"this run uses another model, {self._spec.model}"))
            return
        # A worker that says hello again was started again: it knows nothing of its former clips.
        self._lose_clips_of(lambda sent: sent.worker == identity)
        self._workers[identity] = Asking(asked_at=self._now())
        self._on_hello(identity, hello.devices)

    def _take_scores(self, identity: bytes, scores: Scores) -> None:
        sent = self._in_flight.get(scores.number)
        if sent is None or sent.worker != identity:
            self._metrics.count("late_answers")
            return
        assert self._spec is not None  # clips are cut to it
        labels = self._spec.labels
        if len(scores.probabilities) != len(labels):
            self._metrics.count("malformed_messages")
            self._link.send(identity, Refusal(f"{len(labels)} probabilities expected"))
            return
        del self._in_flight[scores.number]
        self._metrics.measure("line", self._now() - sent.sent_at - scores.inference_s)
        self._metrics.count("windows", sent.camera)
        self._ready.append(
            Prediction(
                camera=sent.camera,
                labels=labels,
                probabilities=scores.probabilities,
                start_s=sent.start_s,
                end_s=sent.end_s,
                newest_at=sent.newest_at,
                inference_s=scores.inference_s,
            )
        )

    def _give_work(self) -> None:
        asking = {
            identity: worker
            for identity, worker in self._workers.items()
            if worker.room and self._now() - worker.asked_at < _ASK_HOLDS_S
        }
        if asking and self._again:
            self._send_again(asking)
        passed = self._under_way() if self._every_window else set()  # so that they stay in order
        due = [one for one in self._due() if one.camera not in passed] if asking else []
        if not due:
            self._waiting_since = None
            return
        if not self._is_worth_sending(len(due), sum(w.room for w in asking.values())):
            return
        for number, (identity, worker) in enumerate(asking.items()):
            # Shared out, so that they are all done as early as can be.
            share = min(worker.room, math.ceil(len(due) / (len(asking) - number)))
            cut = self._cut(due[:share])
            due = due[share:]
            if cut:
                self._send_work(identity, worker, cut)

    def _under_way(self) -> set[str]:
        """The streams of which a clip is with a worker, or was lost and is to be sent again."""
        sent = {sent.camera for sent in self._in_flight.values()}
        return sent | {lost.clip.camera for lost in self._again}

    def _send_again(self, asking: dict[bytes, Asking]) -> None:
        for identity, worker in list(asking.items()):
            if self._again:
                lost = self._again.pop(0)
                self._metrics.count("resent_windows", lost.clip.camera)
                self._send_work(identity, worker, [(lost.clip, lost.newest_at)], lost.times)
                del asking[identity]

    def _send_work(
        self,
        identity: bytes,
        worker: Asking,
        cut: Sequence[tuple[Clip, float]],
        lost_times: int = 0,
    ) -> None:
        worker.room, sent_at = 0, self._now()
        if not self._link.send(identity, Work(tuple(clip for clip, _ in cut))):
            for clip, newest_at in cut:
                self._lose(clip.camera, clip if self._every_window else None, newest_at, lost_times)
            return
        for clip, newest_at in cut:
            first_s, last_s = float(clip.times[0]), float(clip.times[-1])
            self._in_flight[clip.number] = InFlight(
                clip.camera,
                first_s,
                last_s,
                newest_at,
                identity,
                sent_at,
                clip if self._every_window else None,
                lost_times,
            )

    def _is_worth_sending(self, count: int, room: int) -> bool:
        """Whether `count` windows go to workers with that much room, or wait for others."""
        if self._waiting_since is None:
            self._waiting_since = self._now()
        watching = sum(stream.ring is not None for stream in self._streams.values())
        if count < min(room, watching) and self._waits_s() > 0:
            return False
        self._waiting_since = None
        return True

    def _waits_s(self) -> float:
        """How long windows that wait for others may still do so; without such ones, for ever."""
        if self._waiting_since is None:
            return math.inf
        return max(0.0, self._waiting_since + self._batch_wait_s - self._now())

    def _cut(self, wanted: Iterable[Due]) -> list[tuple[Clip, float]]:
        """The clips of these windows, with when their newest frames were seen."""
        cut = []
        for due in wanted:
            try:
                frames, times, newest_at = due.ring.window(due.times)
            except NotCoveredError:  # the ring moved on, or was cleared, since it was asked
                continue
            self._pass_over(due.camera, due.end_s)
            self._streams[due.camera].looked(due.end_s)
            self._number += 1
            cut.append((Clip(due.camera, self._number, frames, times), newest_at))
        return cut

    def _due(self) -> list[Due]:
        """The freshest complete window of each stream that has one, longest waiting first."""
        found = [due for name in self._streams if (due := self._due_of(name)) is not None]
        return sorted(found, key=lambda due: -due.waiting_s)

    def _due_of(self, name: str) -> Due | None:
        stream = self._streams[name]
        ring = stream.ring
        newest_s = ring.newest_s if ring is not None else None
        if ring is None or newest_s is None or self._spec is None:
            return None
        self._grids[name].heed(ring.cleared)
        end_s = self._grids[name].due(newest_s)
        if end_s is None:
            return None
        times = self._spec.times(end_s)
        if not ring.covers(times):
            return None
        if stream.is_still(float(times[0]), end_s):
            self._pass_over(name, end_s, "still_windows")
            return None
        return Due(self._grids[name].waiting_s(newest_s), end_s, name, ring, times)

    def _give_up_lost(self) -> None:
        """Forget clips whose worker died or is stuck, so that their loss is counted."""
        now = self._now()
        late = {
            sent.worker
            for sent in self._in_flight.values()
            if now - sent.sent_at > self._answer_within_s
        }
        if late:
            self._lose_clips_of(lambda sent: sent.worker in late)
        for identity in late:
            self._on_silence(identity)
        for identity, worker in list(self._workers.items()):
            if now - worker.asked_at > 10 * _ASK_HOLDS_S + self._answer_within_s:
                del self._workers[identity]

    def _count_what_is_left(self) -> None:
        """At the end: clips that are still with a worker, and windows that nobody took."""
        for sent in self._in_flight.values():
            self._metrics.count("unanswered_windows", sent.camera)
        for due in self._due():
            self._pass_over(due.camera, due.end_s, "skipped_windows")

    def _pass_over(self, name: str, end_s: float, counted: str = "") -> None:
        """Mark a window as done with, under that name if any, and those before it as skipped."""
        skipped = self._grids[name].take(end_s)
        if skipped:
            self._metrics.count("skipped_windows", name, skipped)
        if counted:
            self._metrics.count(counted, name)

    def _lose_clips_of(self, lost: Callable[[InFlight], bool]) -> None:
        for number, sent in list(self._in_flight.items()):
            if lost(sent):
                del self._in_flight[number]
                self._lose(sent.camera, sent.clip, sent.newest_at, sent.lost_times)

    def _lose(self, camera: str, clip: Clip | None, newest_at: float, lost_times: int) -> None:
        if clip is None:
            self._metrics.count("lost_windows", camera)
            return
        self._again.append(Lost(clip, newest_at, lost_times + 1))
        if lost_times + 1 == _MOST_LOST:
            self._on_failure(
                b"",
                f"a window of {camera} was not scored in {_MOST_LOST} tries; is the "
                f"{self._answer_within_s:g} s of worker.answer_within long enough for the model?",
            )
