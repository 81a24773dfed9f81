"""CURVE authentication over tcp with real sockets."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from stream.messages import Clip, ClipSpec, Scores
from stream.runtime.metrics import Metrics
from stream.workers.curve_auth import ServerKeys, WorkerKeys, create_keys, server_keys, worker_keys
from stream.workers.transport import SchedulerSocket, TransportError, WorkerClient
from stream.workers.wire import Batch, Hello, Ready, Result, pack
from tests.waiting import wait_for

_CLIP = Clip("door", 1, np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) / 10)
_SCORES = (Scores(1, np.full(3, 1 / 3, np.float32), 0.1),)


class Server:
    """Sends a clip to each ready worker, in a thread."""

    def __init__(self, keys: ServerKeys, endpoint: str = "tcp://127.0.0.1:*") -> None:
        self.metrics = Metrics()
        self.results = 0
        self.received_from: set[bytes] = set()  # identities
        self.socket = SchedulerSocket(endpoint, self.metrics, keys=keys)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler")

    @property
    def rejected(self) -> int:
        return self.metrics.total("rejected_workers")

    def _run(self) -> None:
        while not self._stop.is_set():
            while (received := self.socket.receive()) is not None:
                identity, message = received
                self.received_from.add(identity)
                self.results += isinstance(message, Result)
                if isinstance(message, Ready):
                    self.socket.send(identity, Batch((_CLIP,)))
            self.socket.wait(0.2)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.socket.wake()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.socket.__exit__()


@pytest.fixture
def keys(tmp_path: Path) -> tuple[ServerKeys, WorkerKeys]:
    """The server's keys, and those of its worker."""
    create_keys(tmp_path / "keys")
    server = server_keys(tmp_path / "keys" / "server.keys")
    worker = worker_keys(tmp_path / "keys" / "worker.keys")
    return server, worker


def check_round_trip(server: Server, worker: WorkerClient) -> None:
    """One round trip: request, clip, result."""
    before = server.results
    assert [clip.camera for clip in worker.request_clips(capacity=1, timeout_s=60)] == ["door"]
    worker.send_result(_SCORES)
    wait_for(lambda: server.results > before)


@contextmanager
def unauthorized(endpoint: str, **options: bytes) -> Iterator[zmq.Socket[bytes]]:
    """A socket like a worker's, without keys or with the keys in `options`."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.set(zmq.LINGER, 0)
        for name, value in options.items():
            client.set(getattr(zmq, name), value)
        client.connect(endpoint)
        yield client


def foreign_keys(folder: Path, server: ServerKeys, *, worker: str = "other") -> WorkerKeys:
    """An unknown worker's keys, with the right public key of the server."""
    create_keys(folder, worker)
    found = worker_keys(folder / f"{worker}.keys")
    return replace(found, server=server.public)


def test_worker_with_the_right_keys_gets_clips(
    keys: tuple[ServerKeys, WorkerKeys], spec: ClipSpec
) -> None:
    with Server(keys[0]) as server:
        assert server.socket.endpoint.startswith("tcp://127.0.0.1:")
        with WorkerClient(server.socket.endpoint, spec, keys=keys[1], name="far") as worker:
            check_round_trip(server, worker)
        with WorkerClient(
            server.socket.local_endpoint, spec, name="near"
        ) as worker:  # needs no keys
            check_round_trip(server, worker)
        assert (server.received_from, server.rejected) == ({b"far", b"near"}, 0)


def test_unauthorized_clients_get_nothing_and_disturb_no_worker(
    keys: tuple[ServerKeys, WorkerKeys], spec: ClipSpec, tmp_path: Path
) -> None:
    foreign = foreign_keys(tmp_path / "foreign", keys[0])
    hello = [bytes(part) for part in pack(Hello(spec))]
    pairs = {
        "unknown key": {
            "CURVE_SERVERKEY": foreign.server.encode(),
            "CURVE_PUBLICKEY": foreign.public.encode(),
            "CURVE_SECRETKEY": foreign.secret.encode(),
        },
        "the worker's public key, but not its secret": {
            "CURVE_SERVERKEY": foreign.server.encode(),
            "CURVE_PUBLICKEY": keys[1].public.encode(),
            "CURVE_SECRETKEY": foreign.secret.encode(),
        },
        "another server's key": {
            "CURVE_SERVERKEY": foreign.public.encode(),
            "CURVE_PUBLICKEY": keys[1].public.encode(),
            "CURVE_SECRETKEY": keys[1].secret.encode(),
        },
        "no key": {},
        "a password": {"PLAIN_USERNAME": b"worker", "PLAIN_PASSWORD": b"worker"},
    }
    with (
        Server(keys[0]) as server,
        WorkerClient(server.socket.endpoint, spec, keys=keys[1], name="good") as worker,
    ):
        check_round_trip(server, worker)
        for who, options in pairs.items():
            before = server.rejected
            with unauthorized(server.socket.endpoint, IDENTITY=b"good", **options) as client:
                client.send_multipart(hello)
                wait_for(lambda before=before: server.rejected > before)
                assert not client.poll(100), who
            check_round_trip(server, worker)
        assert server.received_from == {b"good"}


def test_garbage_on_the_port_gets_nothing_and_disturbs_no_worker(
    keys: tuple[ServerKeys, WorkerKeys], spec: ClipSpec
) -> None:
    hello = b"".join(bytes(part) for part in pack(Hello(spec)))
    greeting = b"\xff" + 8 * b"\0" + b"\x7f"
    version_3 = greeting + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + b"\0" + 31 * b"\0"
    with (
        Server(keys[0]) as server,
        WorkerClient(server.socket.endpoint, spec, keys=keys[1]) as worker,
    ):
        check_round_trip(server, worker)
        host, port = server.socket.endpoint.removeprefix("tcp://").split(":")
        for sent in (
            os.urandom(4096),
            b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
            b"\x01\x00" + hello,  # an old protocol version, without keys
            greeting + b"\x01\x05\x00\x00" + hello,
            version_3.replace(b"CURVE", b"NULL\0") + hello,
            version_3 + b"\x06" + (1 << 60).to_bytes(8, "big"),  # a command without an end
            version_3 + b"\x04\xc8\x05HELLO" + os.urandom(194),
            version_3 + b"\x00\x05" + hello,  # a message before the handshake
        ):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(sent)
                got = b""
                try:
                    while more := connection.recv(4096):
                        got += more
                except ConnectionResetError:  # closed by zmq with unread data
                    pass
            assert len(got) <= 64  # at most a greeting
            check_round_trip(server, worker)
        assert len(server.received_from) == 1


def test_idle_connections_do_not_block_workers(
    keys: tuple[ServerKeys, WorkerKeys], spec: ClipSpec
) -> None:
    with Server(keys[0]) as server:
        host, port = server.socket.endpoint.removeprefix("tcp://").split(":")
        idle = [socket.create_connection((host, int(port)), timeout=20) for _ in range(50)]
        with WorkerClient(server.socket.endpoint, spec, keys=keys[1]) as worker:
            check_round_trip(server, worker)
        wait_for(lambda: server.rejected >= 50)  # closed after five seconds
        for one in idle:
            one.close()


def test_rejected_worker_reports_the_fix(
    keys: tuple[ServerKeys, WorkerKeys], spec: ClipSpec, tmp_path: Path
) -> None:
    foreign = foreign_keys(tmp_path / "foreign", keys[0])
    with (
        Server(keys[0]) as server,
        WorkerClient(server.socket.endpoint, spec, keys=foreign) as worker,
        pytest.raises(TransportError, match=r"does not know the key") as caught,
    ):
        wait_for(lambda: worker.request_clips(capacity=1, timeout_s=0.5) != ())
    message = str(caught.value)
    assert (
        f"{foreign.file}; add the line `worker NAME {foreign.public}` to its server.keys" in message
    )
    assert "\n" not in message
    assert foreign.secret not in message
    # Which helps.
    server_file = keys[0].file
    with server_file.open("a") as text:
        text.write(f"worker other {foreign.public}\n")
    fixed = server_keys(server_file)
    with (
        Server(fixed) as server,
        WorkerClient(server.socket.endpoint, spec, keys=foreign) as worker,
    ):
        check_round_trip(server, worker)


def test_server_logs_rejected_workers_at_most_once_a_minute(
    keys: tuple[ServerKeys, WorkerKeys],
    spec: ClipSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    foreign = foreign_keys(tmp_path / "foreign", keys[0])
    with Server(keys[0]) as server, caplog.at_level(logging.WARNING, "stream.workers.admission"):
        for times in range(1, 4):
            with (
                WorkerClient(server.socket.endpoint, spec, keys=foreign) as worker,
                pytest.raises(TransportError),
            ):
                wait_for(
                    lambda worker=worker: worker.request_clips(capacity=1, timeout_s=0.5) != ()
                )
            wait_for(lambda times=times: server.rejected == times)
    assert [record.getMessage() for record in caplog.records] == [
        f"rejected a worker from 127.0.0.1: its key is not in {keys[0].file}"
    ]


def test_worker_with_another_servers_key_logs_it_and_retries(
    keys: tuple[ServerKeys, WorkerKeys],
    spec: ClipSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    create_keys(tmp_path / "other")
    other = worker_keys(tmp_path / "other" / "worker.keys")
    with (
        Server(keys[0]) as server,
        WorkerClient(server.socket.endpoint, spec, keys=other) as worker,
        caplog.at_level(logging.WARNING, "stream.workers.admission"),
    ):
        wait_for(
            lambda: bool(worker.request_clips(capacity=1, timeout_s=0.1)) or server.rejected >= 2
        )
        worker.request_clips(capacity=1, timeout_s=0.5)
        (warning,) = [
            text for one in caplog.records if "closes the connection" in (text := one.getMessage())
        ]
        assert str(other.file) in warning


def test_worker_is_rejected_while_its_key_is_removed(
    keys: tuple[ServerKeys, WorkerKeys], spec: ClipSpec, caplog: pytest.LogCaptureFixture
) -> None:
    server_file, clock_offset_s = keys[0].file, 0.0
    server_file.write_text(server_file.read_text().partition("worker ")[0])
    fewer = server_keys(server_file)
    assert fewer.workers == {}
    with Server(keys[0]) as server:
        endpoint = server.socket.endpoint
        worker = WorkerClient(
            endpoint, spec, keys=keys[1], name="w", now=lambda: time.monotonic() + clock_offset_s
        )
        check_round_trip(server, worker)
    with worker, caplog.at_level(logging.WARNING, "stream.workers.admission"):
        with Server(fewer, endpoint) as server:
            for times in range(1, 4):
                wait_for(
                    lambda times=times: (
                        bool(worker.request_clips(capacity=1, timeout_s=0.1))
                        or server.rejected >= times
                    )
                )
                worker.request_clips(capacity=1, timeout_s=0.2)  # processes the rejection
                clock_offset_s += 6  # it reconnects
            assert server.received_from == set()
            warnings = [one.getMessage() for one in caplog.records]
            assert sum("does not know the key" in text for text in warnings) == 1
        with Server(keys[0], endpoint) as server:
            check_round_trip(server, worker)


def test_no_client_is_accepted_before_authentication_runs(
    keys: tuple[ServerKeys, WorkerKeys], spec: ClipSpec
) -> None:
    with (
        SchedulerSocket("tcp://127.0.0.1:*", keys=keys[0]) as socket,  # and `receive` is not called
        WorkerClient(socket.endpoint, spec, keys=keys[1]) as worker,
    ):
        assert worker.request_clips(capacity=1, timeout_s=0.5) == ()
        for _ in range(100):
            received = socket.receive()
            if received is not None:
                break
            worker.request_clips(capacity=1, timeout_s=0.1)
        assert received is not None
        assert isinstance(received[1], Hello)
