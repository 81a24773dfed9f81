from __future__ import annotations

import time
from pathlib import Path

import pytest
import zmq

from stream.messages import ClipSpec
from stream.workers.curve_auth import make, watch_keys
from stream.workers.transport import SchedulerEnd, TransportError, WorkerEnd
from stream.workers.wire import Ask, Hello, Refusal, unpack


def hear(link: SchedulerEnd) -> tuple[bytes, object]:
    for _ in range(100):
        heard = link.receive()
        if heard is not None:
            return heard
        link.wait(0.1)
    raise AssertionError("nothing was heard")


def test_a_malformed_message_is_counted_and_answered(tmp_path: Path) -> None:
    counted: list[None] = []
    endpoint = f"ipc://{tmp_path / 'line'}"
    with (
        SchedulerEnd(endpoint, malformed=lambda: counted.append(None)) as link,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as stranger,
    ):
        stranger.set(zmq.LINGER, 0)
        stranger.connect(endpoint)
        stranger.send_multipart([b"\x80\x04 pickle, for example"])
        link.wait(5)
        assert link.receive() is None
        assert stranger.poll(5000)
        answer = unpack(stranger.recv_multipart())
        assert isinstance(answer, Refusal)
    assert len(counted) == 1


def test_a_worker_says_hello_before_it_asks(tmp_path: Path, spec: ClipSpec) -> None:
    endpoint = f"ipc://{tmp_path / 'line'}"
    with SchedulerEnd(endpoint) as link, WorkerEnd(endpoint, spec, name="w") as worker:
        worker.ask(room=2, timeout_s=0.1)
        assert hear(link) == (b"w", Hello(spec))
        assert hear(link) == (b"w", Ask(2))


def test_sending_to_a_worker_that_has_gone_says_so(tmp_path: Path) -> None:
    with SchedulerEnd(f"ipc://{tmp_path / 'line'}") as link:
        assert not link.send(b"nobody", Ask(1))


def test_wake_makes_wait_return_at_once(tmp_path: Path) -> None:
    with SchedulerEnd(f"ipc://{tmp_path / 'line'}") as link:
        for _ in range(10_000):  # more than the pair of sockets holds
            link.wake()
        began = time.monotonic()
        link.wait(60)
        assert time.monotonic() - began < 30


def test_an_endpoint_that_is_taken_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    keys = watch_keys(tmp_path / "watch.keys")
    with (
        SchedulerEnd("tcp://127.0.0.1:*", keys=keys) as link,
        pytest.raises(TransportError, match=link.endpoint.replace(".", r"\.")),
    ):
        SchedulerEnd(link.endpoint, keys=keys)
