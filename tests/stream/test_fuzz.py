"""Random and mutated messages to both sockets: nothing crashes, every one is counted."""

from __future__ import annotations

import contextlib
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
from stream.workers.transport import SchedulerSocket, TransportError, WorkerClient
from stream.workers.wire import (
    Batch,
    Failure,
    Hello,
    Identify,
    Message,
    Ready,
    Rejection,
    Result,
    WireError,
    pack,
    unpack,
)
from tests.waiting import wait_for

_SPEC = ClipSpec("small", ("a", "b"), frozenset({"a"}), 4, 0.4, 8, 8, fit="squash")
_CLIP = Clip("door", 1, np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) / 10)
_PROBABILITIES = np.array([0.4, 0.6], np.float32)
_VALID: tuple[Message, ...] = (
    Hello(_SPEC),
    Ready(3),
    Result((Scores(1, _PROBABILITIES, 0.1),)),
    Batch((_CLIP,)),
    Identify(),
    Rejection("no"),
    Failure("why"),
)
fuzz = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,  # the same examples in every run
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """A valid message with parts cut, doubled, dropped or inserted, or with changed bytes."""
    parts = [bytes(part) for part in pack(draw(st.sampled_from(_VALID)))]
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
                position = draw(st.integers(0, len(parts[at]) - 1))
                byte = draw(st.binary(min_size=1, max_size=1))
                parts[at] = parts[at][:position] + byte + parts[at][position + 1 :]
    return parts


messages = mutated() | st.lists(st.binary(max_size=200), min_size=1, max_size=6)


@given(messages)
@fuzz
def test_any_bytes_are_a_message_or_a_wire_error(parts: list[bytes]) -> None:
    try:
        message = unpack(parts)
    except WireError:
        return
    # It is complete: it can be packed again.
    assert type(unpack([bytes(part) for part in pack(message)])) is type(message)


class ClipSource:
    def __init__(self) -> None:
        self.ring = FrameRing(_SPEC)
        for number in range(40):
            self.ring.append(np.zeros((8, 8, 3), np.uint8), number / 25, number / 25)

    def is_gated(self, start_s: float, end_s: float) -> bool:
        return False

    def mark_scored(self, end_s: float) -> None:
        pass


class SchedulerHarness:
    """A scheduler running in a thread."""

    def __init__(self, folder: Path) -> None:
        self.metrics = Metrics()
        self.socket = SchedulerSocket(
            f"ipc://{folder / 'scheduler'}",
            self.metrics,
        )
        self.predictions = 0
        scheduler = Scheduler(
            self.socket,
            {"door": ClipSource()},
            self.metrics,
            stride_s=0.25,
            result_timeout_s=30.0,
            predictions=self,
            workers=self,
        )
        self.scheduler = scheduler
        scheduler.start()

    def on_model(self, spec: ClipSpec) -> None:
        pass

    def on_prediction(self, prediction: object) -> None:
        self.predictions += 1

    def on_hello(self, worker: bytes, devices: int) -> None:
        pass

    def on_timeout(self, worker: bytes) -> None:
        pass

    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        pass

    def close(self) -> None:
        self.scheduler.request_stop()
        assert self.scheduler.join(60)
        self.socket.__exit__()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[SchedulerHarness]:
    harness = SchedulerHarness(tmp_path)
    yield harness
    harness.close()


def test_scheduler_survives_malformed_messages(harness: SchedulerHarness) -> None:
    malformed = 0
    # A valid worker sets the model first, so that random messages can't.
    with (
        WorkerClient(harness.socket.endpoint, _SPEC) as worker,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as client,
    ):
        (clip,) = worker.request_clips(capacity=1, timeout_s=60)
        client.set(zmq.LINGER, 0)
        client.connect(harness.socket.endpoint)

        @given(messages)
        @fuzz
        def send(parts: list[bytes]) -> None:
            nonlocal malformed
            try:
                unpack(parts)
            except WireError:
                malformed += 1
            client.send_multipart(parts)

        send()
        assert malformed > 50
        wait_for(lambda: harness.metrics.total("malformed_messages") >= malformed)
        assert not harness.scheduler.join(0)
        worker.send_result((Scores(clip.number, _PROBABILITIES, 0.01),))
        wait_for(lambda: harness.predictions >= 1)


def test_worker_survives_malformed_messages(tmp_path: Path) -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.ROUTER) as scheduler,
        WorkerClient("ipc://" + str(tmp_path / "workers"), _SPEC, name="w") as worker,
    ):
        scheduler.set(zmq.LINGER, 0)
        scheduler.bind("ipc://" + str(tmp_path / "workers"))
        assert worker.request_clips(capacity=1, timeout_s=0.5) == ()

        malformed = 0

        @given(messages)
        @fuzz
        def send(parts: list[bytes]) -> None:
            nonlocal malformed
            try:
                unpack(parts)
            except WireError:
                malformed += 1
            scheduler.send_multipart([b"w", *parts])
            with contextlib.suppress(TransportError):  # rejected, which a scheduler may do
                worker.request_clips(capacity=1, timeout_s=0.01)

        send()
        for _ in range(1000):  # remaining messages
            if not worker.request_clips(capacity=1, timeout_s=0.01):
                break
        scheduler.send_multipart([b"w", *pack(Batch((_CLIP,)))])
        (clip,) = worker.request_clips(capacity=1, timeout_s=60)
        assert clip.number == 1
        assert worker.malformed == malformed > 50


def test_flood_of_malformed_messages_does_not_starve_a_worker(harness: SchedulerHarness) -> None:
    with (
        WorkerClient(harness.socket.endpoint, _SPEC) as worker,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as client,
    ):
        client.set(zmq.LINGER, 0)
        client.connect(harness.socket.endpoint)
        for _ in range(5000):
            client.send_multipart([b"nonsense"])
        (clip,) = worker.request_clips(capacity=1, timeout_s=60)
        worker.send_result((Scores(clip.number, _PROBABILITIES, 0.01),))
        wait_for(lambda: harness.predictions == 1)
