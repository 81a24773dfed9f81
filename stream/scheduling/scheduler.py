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

from stream.messages import Clip, ClipSpec, Prediction, Scores
from stream.regions.frame_ring import NotCoveredError
from stream.runtime.metrics import Metrics
from stream.scheduling.stream_registry import Turns
from stream.scheduling.window_state import Asking, Due, InFlight, Lost, Seat, Watched
from stream.workers.transport import SchedulerEnd
from stream.workers.wire import Answer, Ask, Failure, Hello, Message, Refusal, Who, Work

_log = logging.getLogger(__name__)
_MOST_HEARD = 64  # messages between two rounds of work: a flood must not starve the workers
_MOST_LOST = 3  # times that a window is lost where every one counts
_BEFORE_GUEST = 4  # windows of cameras, where there are more than can be done
_ASK_HOLDS_S = 3.0  # a worker asks again every second; one that doesn't has gone


class Scheduler:
    """Answers each worker that asks with the freshest windows that are due at that moment.

    Streams may come and go while it runs. Guests get what cameras leave: one window of one guest at
    a time goes along with those of cameras, if the worker has room for it. Where cameras leave
    nothing, every fifth window is a guest's.
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
        self._metrics = metrics
        self._answer_within_s = answer_within_s
        self._batch_wait_s = batch_wait_s
        self._waiting_since: float | None = None  # monotonic seconds, while windows wait for others
        self._on_spec, self._on_prediction = on_spec, on_prediction
        self._on_failure, self._on_hello, self._on_silence = on_failure, on_hello, on_silence
        self._now = now
        self._every_window = every_window
        self._passing = Lock()  # while predictions are passed on; taken before the other one
        self._lock = Lock()  # so that no clip is between due and under way when `idle` looks
        self._round = Condition(self._lock)  # told after each round of work
        self._spec: ClipSpec | None = None
        self._turns = Turns(streams, metrics, stride_s=stride_s, now=now)
        self._workers: dict[bytes, Asking] = {}
        self._in_flight: dict[int, InFlight] = {}
        self._again: list[Lost] = []
        self._ready: list[Prediction] = []  # not passed on yet
        self._number = 0
        self._since_guest = 0  # windows of cameras since the latest one of a guest
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
            with self._passing:
                with self._lock:
                    ready = list(self._ready)
                for prediction in ready:  # without the lock: whoever takes them may need it
                    self._on_prediction(prediction)
                with self._lock:
                    del self._ready[: len(ready)]
            # Frames and messages wake it; the time-out is for deadlines.
            self._link.wait(timeout_s=min(0.2, self._waits_s()))
        self._count_what_is_left()

    def add(self, name: str, stream: Watched, *, guest: bool = False) -> None:
        """Serve one more stream from now on. Any thread may call it, as the two below."""
        with self._lock:
            self._turns.add(name, stream, guest=guest)

    def remove(self, name: str) -> None:
        """Serve a stream no longer: after this no prediction of it is passed on."""
        with self._passing, self._lock:
            self._turns.remove(name)
            self._ready = [one for one in self._ready if one.camera != name]
            self._again = [lost for lost in self._again if lost.seat.name != name]
            self._round.notify_all()

    def keep_to(self, stride_s: float) -> None:
        """From now on windows end at multiples of another stride."""
        with self._lock:
            self._turns.keep_to(stride_s)

    @property
    def idle(self) -> bool:
        """Whether everything of cameras that was due is answered. Any thread may ask."""
        with self._lock:
            cameras = self._turns.cameras
        return self.idle_in(cameras)

    def idle_in(self, streams: Iterable[str]) -> bool:
        """Whether everything that was due in these streams is answered. Any thread may ask."""
        with self._lock:
            names = set(streams)
            if names & (self._under_way() | {prediction.camera for prediction in self._ready}):
                return False
            return not any(self._turns.due_of(name, self._spec) for name in names)

    def hold(self, streams: Iterable[str], stop: StopEvent) -> None:
        """Wait until no window of these streams waits for a worker. For the thread of frames."""
        names = tuple(streams)
        with self._round:
            while not stop.is_set() and any(self._turns.due_of(name, self._spec) for name in names):
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
        if not self._turns.serves(sent.seat):
            del self._in_flight[scores.number]
            self._metrics.count("unneeded_answers", sent.seat.counted_as)
            return
        assert self._spec is not None  # clips are cut to it
        labels = self._spec.labels
        if len(scores.probabilities) != len(labels):
            self._metrics.count("malformed_messages")
            self._link.send(identity, Refusal(f"{len(labels)} probabilities expected"))
            return
        del self._in_flight[scores.number]
        answered_at = self._now()
        self._metrics.measure("line", answered_at - sent.sent_at - scores.inference_s)
        self._metrics.count("windows", sent.seat.counted_as)
        self._ready.append(
            Prediction(
                camera=sent.seat.name,
                labels=labels,
                probabilities=scores.probabilities,
                start_s=sent.start_s,
                end_s=sent.end_s,
                newest_at=sent.newest_at,
                inference_s=scores.inference_s,
                sent_at=sent.sent_at,
                answered_at=answered_at,
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
        due, guests = self._turns.due(self._spec) if asking else ([], [])
        if self._every_window:
            passed = self._under_way()  # so that they stay in order
            due = [one for one in due if one.seat.name not in passed]
        if not due and not guests:
            self._waiting_since = None
            return
        if not self._is_worth_sending(len(due), sum(w.room for w in asking.values())):
            return
        for number, (identity, worker) in enumerate(asking.items()):
            # Shared out, so that they are all done as early as can be.
            share = min(worker.room, math.ceil(len(due) / (len(asking) - number)))
            wanted: list[Due] = []
            # One at a time: more would keep the cameras waiting.
            if guests and (share < worker.room or self._since_guest >= _BEFORE_GUEST):
                wanted, share = [guests.pop(0)], min(share, worker.room - 1)
            self._since_guest = share if wanted else self._since_guest + share
            wanted, due = [*due[:share], *wanted], due[share:]
            if cut := self._cut(wanted):
                self._send_work(identity, worker, cut)

    def _under_way(self) -> set[str]:
        """The streams of which a clip is with a worker, or was lost and is to be sent again."""
        sent = {sent.seat.name for sent in self._in_flight.values()}
        return sent | {lost.seat.name for lost in self._again}

    def _send_again(self, asking: dict[bytes, Asking]) -> None:
        for identity, worker in list(asking.items()):
            if self._again:
                lost = self._again.pop(0)
                self._metrics.count("resent_windows", lost.seat.counted_as)
                cut = [(lost.seat, lost.clip, lost.newest_at)]
                self._send_work(identity, worker, cut, lost.times)
                del asking[identity]

    def _send_work(
        self,
        identity: bytes,
        worker: Asking,
        cut: Sequence[tuple[Seat, Clip, float]],
        lost_times: int = 0,
    ) -> None:
        worker.room, sent_at = 0, self._now()
        if not self._link.send(identity, Work(tuple(clip for _, clip, _ in cut))):
            for seat, clip, newest_at in cut:
                self._lose(seat, clip if self._every_window else None, newest_at, lost_times)
            return
        for seat, clip, newest_at in cut:
            first_s, last_s = float(clip.times[0]), float(clip.times[-1])
            self._in_flight[clip.number] = InFlight(
                seat,
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
        if count < min(room, self._turns.watching) and self._waits_s() > 0:
            return False
        self._waiting_since = None
        return True

    def _waits_s(self) -> float:
        """How long windows that wait for others may still do so; without such ones, for ever."""
        if self._waiting_since is None:
            return math.inf
        return max(0.0, self._waiting_since + self._batch_wait_s - self._now())

    def _cut(self, wanted: Iterable[Due]) -> list[tuple[Seat, Clip, float]]:
        """The clips of these windows, with when their newest frames were seen."""
        cut = []
        for due in wanted:
            try:
                frames, times, newest_at = due.ring.window(due.times)
            except NotCoveredError:  # the ring moved on, or was cleared, since it was asked
                continue
            self._turns.take(due)
            self._number += 1
            cut.append((due.seat, Clip(due.seat.name, self._number, frames, times), newest_at))
        return cut

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
        with self._lock:  # guests may still come and go
            for sent in self._in_flight.values():
                if self._turns.serves(sent.seat) and not sent.seat.is_guest:
                    self._metrics.count("unanswered_windows", sent.seat.name)
            self._turns.pass_over_what_is_left(self._spec)

    def _lose_clips_of(self, lost: Callable[[InFlight], bool]) -> None:
        for number, sent in list(self._in_flight.items()):
            if lost(sent):
                del self._in_flight[number]
                self._lose(sent.seat, sent.clip, sent.newest_at, sent.lost_times)

    def _lose(self, seat: Seat, clip: Clip | None, newest_at: float, lost_times: int) -> None:
        if not self._turns.serves(seat):
            return
        if clip is None:
            self._metrics.count("lost_windows", seat.counted_as)
            return
        self._again.append(Lost(seat, clip, newest_at, lost_times + 1))
        if lost_times + 1 == _MOST_LOST:
            self._on_failure(
                b"",
                f"a window of {seat.name} was not scored in {_MOST_LOST} tries; is the "
                f"{self._answer_within_s:g} s of worker.answer_within long enough for the model?",
            )
