"""Random and mutated messages at both ends of the line: nothing dies, everything is counted."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.messages import Clip, ClipSpec, Scores
from stream.regions.frame_ring import FrameRing
from stream.runtime.metrics import Metrics
from stream.scheduling.scheduler import Scheduler
from stream.workers.transport import SchedulerEnd, TransportError, WorkerEnd
from stream.workers.wire import (
    Answer,
    Ask,
    Failure,
    Hello,
    Message,
    Refusal,
    Who,
    WireError,
    Work,
    pack,
    unpack,
)
from tests.waiting import wait_for

_SPEC = ClipSpec("small", ("a", "b"), frozenset({"a"}), 4, 0.4, 8, 8, fit="squash")
_CLIP = Clip("door", 1, np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) / 10)
_SHARES = np.array([0.4, 0.6], np.float32)
_GOOD: tuple[Message, ...] = (
    Hello(_SPEC),
    Ask(3),
    Answer((Scores(1, _SHARES, 0.1),)),
    Work((_CLIP,)),
    Who(),
    Refusal("no"),
    Failure("why"),
)
fuzz = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,  # the same in every run: a failure is never by chance
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """A good message with parts cut, doubled, swapped, or bytes in them changed."""
    parts = [bytes(part) for part in pack(draw(st.sampled_from(_GOOD)))]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(parts) - 1))
        match draw(st.sampled_from(["cut", "double", "drop", "change", "insert"])):
            case "cut":
                parts[at] = parts[at][: draw(st.integers(0, len(parts[at])))]
            case "double":
                parts.insert(at, parts[at])
            case "drop" if len(parts) > 1:
                del parts[at]
            case "insert":
                parts.insert(at, draw(st.binary(max_size=64)))
            case _ if parts[at]:
                place = draw(st.integers(0, len(parts[at]) - 1))
                byte = draw(st.binary(min_size=1, max_size=1))
                parts[at] = parts[at][:place] + byte + parts[at][place + 1 :]
    return parts


messages = mutated() | st.lists(st.binary(max_size=200), min_size=1, max_size=6)


@given(messages)
@fuzz
def test_whatever_comes_is_a_message_or_a_wire_error(parts: list[bytes]) -> None:
    try:
        message = unpack(parts)
    except WireError:
        return
    # It can be sent again: nothing in it is half of something.
    assert type(unpack([bytes(part) for part in pack(message)])) is type(message)


class Watched:
    def __init__(self) -> None:
        self.ring = FrameRing(_SPEC)
        for number in range(40):
            self.ring.append(np.zeros((8, 8, 3), np.uint8), number / 25, number / 25)

    def is_still(self, start_s: float, end_s: float) -> bool:
        return False

    def looked(self, end_s: float) -> None:
        pass


class Desk:
    """A scheduler at work in a thread."""

    def __init__(self, folder: Path) -> None:
        self.metrics = Metrics()
        self.link = SchedulerEnd(
            f"ipc://{folder / 'desk'}", malformed=lambda: self.metrics.count("malformed_messages")
        )
        self.predictions = 0
        scheduler = Scheduler(
            self.link,
            {"door": Watched()},
            self.metrics,
            stride_s=0.25,
            answer_within_s=30.0,
            on_spec=lambda spec: None,
            on_prediction=self._count,
            on_failure=lambda worker, reason: None,
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=scheduler.run, args=(self.stop,))
        self.thread.start()

    def _count(self, prediction: object) -> None:
        self.predictions += 1

    def close(self) -> None:
        self.stop.set()
        self.link.wake()
        self.thread.join(5)
        assert not self.thread.is_alive()
        self.link.__exit__()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_a_scheduler_outlives_what_strangers_send(desk: Desk) -> None:
    sent_wrong = 0
    # First a good worker decides the model, so that strangers can't.
    with (
        WorkerEnd(desk.link.endpoint, _SPEC) as worker,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as stranger,
    ):
        (clip,) = worker.ask(room=1, timeout_s=10)
        stranger.set(zmq.LINGER, 0)
        stranger.connect(desk.link.endpoint)

        @given(messages)
        @fuzz
        def throw(parts: list[bytes]) -> None:
            nonlocal sent_wrong
            try:
                unpack(parts)
            except WireError:
                sent_wrong += 1
            stranger.send_multipart(parts)

        throw()
        assert sent_wrong > 50
        wait_for(lambda: desk.metrics.total("malformed_messages") >= sent_wrong)
        assert desk.thread.is_alive()
        worker.answer((Scores(clip.number, _SHARES, 0.01),))
        wait_for(lambda: desk.predictions >= 1)


def test_a_worker_outlives_what_a_scheduler_sends(tmp_path: Path) -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.ROUTER) as desk,
        WorkerEnd("ipc://" + str(tmp_path / "line"), _SPEC, name="w") as worker,
    ):
        desk.set(zmq.LINGER, 0)
        desk.bind("ipc://" + str(tmp_path / "line"))
        assert worker.ask(room=1, timeout_s=0.5) == ()

        unreadable = 0

        @given(messages)
        @fuzz
        def throw(parts: list[bytes]) -> None:
            nonlocal unreadable
            try:
                unpack(parts)
            except WireError:
                unreadable += 1
            desk.send_multipart([b"w", *parts])
            with contextlib.suppress(TransportError):  # sent away: what a scheduler may do
                worker.ask(room=1, timeout_s=0.01)

        throw()
        for _ in range(1000):  # what came with the rest of it
            if not worker.ask(room=1, timeout_s=0.01):
                break
        desk.send_multipart([b"w", *pack(Work((_CLIP,)))])
        (clip,) = worker.ask(room=1, timeout_s=10)
        assert clip.number == 1
        assert worker.malformed == unreadable > 50


def test_a_flood_of_nonsense_does_not_keep_a_worker_from_its_work(desk: Desk) -> None:
    with (
        WorkerEnd(desk.link.endpoint, _SPEC) as worker,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as stranger,
    ):
        stranger.set(zmq.LINGER, 0)
        stranger.connect(desk.link.endpoint)
        for _ in range(5000):
            stranger.send_multipart([b"nonsense"])
        (clip,) = worker.ask(room=1, timeout_s=10)
        worker.answer((Scores(clip.number, _SHARES, 0.01),))
        wait_for(lambda: desk.predictions == 1)
