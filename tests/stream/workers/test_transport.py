from __future__ import annotations

import time
from pathlib import Path

import pytest
import zmq

from stream.messages import ClipSpec
from stream.runtime.metrics import Metrics
from stream.workers.curve_auth import create_keys, server_keys
from stream.workers.transport import SchedulerSocket, TransportError, WorkerClient
from stream.workers.wire import Hello, Ready, Rejection, unpack


def receive(scheduler: SchedulerSocket) -> tuple[bytes, object]:
    for _ in range(100):
        received = scheduler.receive()
        if received is not None:
            return received
        scheduler.wait(0.1)
    raise AssertionError("no message was received")


def test_malformed_message_is_counted_and_rejected(tmp_path: Path) -> None:
    metrics = Metrics()
    endpoint = f"ipc://{tmp_path / 'workers'}"
    with (
        SchedulerSocket(endpoint, metrics) as scheduler,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as client,
    ):
        client.set(zmq.LINGER, 0)
        client.connect(endpoint)
        client.send_multipart([b"\x80\x04 pickle, for example"])
        scheduler.wait(60)
        assert scheduler.receive() is None
        assert client.poll(5000)
        reply = unpack(client.recv_multipart())
        assert isinstance(reply, Rejection)
    assert metrics.totals() == {"malformed_messages": 1}


def test_worker_sends_hello_before_ready(tmp_path: Path, spec: ClipSpec) -> None:
    endpoint = f"ipc://{tmp_path / 'workers'}"
    with SchedulerSocket(endpoint) as scheduler, WorkerClient(endpoint, spec, name="w") as worker:
        worker.request_clips(capacity=2, timeout_s=0.1)
        assert receive(scheduler) == (b"w", Hello(spec))
        assert receive(scheduler) == (b"w", Ready(2))


def test_send_to_a_disconnected_worker_returns_false(tmp_path: Path) -> None:
    with SchedulerSocket(f"ipc://{tmp_path / 'workers'}") as scheduler:
        assert not scheduler.send(b"nobody", Ready(1))


def test_wake_makes_wait_return_at_once(tmp_path: Path) -> None:
    with SchedulerSocket(f"ipc://{tmp_path / 'workers'}") as scheduler:
        for _ in range(10_000):  # more than the socket pair can buffer
            scheduler.wake()
        started_at = time.monotonic()
        scheduler.wait(60)
        assert time.monotonic() - started_at < 30


def test_endpoint_in_use_is_named(tmp_path: Path) -> None:
    create_keys(tmp_path)
    keys = server_keys(tmp_path / "server.keys")
    with (
        SchedulerSocket("tcp://127.0.0.1:*", keys=keys) as scheduler,
        pytest.raises(TransportError, match=scheduler.endpoint.replace(".", r"\.")),
    ):
        SchedulerSocket(scheduler.endpoint, keys=keys)
