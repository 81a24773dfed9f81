"""Who may come in over tcp: real sockets, and a watch that answers whoever it hears."""

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
from stream.workers.curve_auth import WatchKeys, WorkerKeys, make, watch_keys, worker_keys
from stream.workers.transport import SchedulerEnd, TransportError, WorkerEnd
from stream.workers.wire import Answer, Ask, Hello, Work, pack
from tests.waiting import wait_for

_CLIP = Clip("door", 1, np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) / 10)
_SCORES = (Scores(1, np.full(3, 1 / 3, np.float32), 0.1),)


class Watch:
    """Hears whoever is let in, in a thread, and gives each that asks a clip."""

    def __init__(self, keys: WatchKeys, endpoint: str = "tcp://127.0.0.1:*") -> None:
        self.refused = 0
        self.answers = 0
        self.heard: set[bytes] = set()  # identities
        self.link = SchedulerEnd(endpoint, keys=keys, refused=self._count)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler")

    def _count(self) -> None:
        self.refused += 1

    def _run(self) -> None:
        while not self._stop.is_set():
            while (heard := self.link.receive()) is not None:
                identity, message = heard
                self.heard.add(identity)
                self.answers += isinstance(message, Answer)
                if isinstance(message, Ask):
                    self.link.send(identity, Work((_CLIP,)))
            self.link.wait(0.2)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.link.wake()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.link.__exit__()


@pytest.fixture
def keys(tmp_path: Path) -> tuple[WatchKeys, WorkerKeys]:
    """The watch's, and those of the worker that it lets in."""
    make(tmp_path / "keys")
    watch = watch_keys(tmp_path / "keys" / "watch.keys")
    worker = worker_keys(tmp_path / "keys" / "worker.keys")
    assert watch is not None
    assert worker is not None
    return watch, worker


def works(watch: Watch, worker: WorkerEnd) -> None:
    """Once round: ask, get, answer, heard."""
    before = watch.answers
    assert [clip.camera for clip in worker.ask(room=1, timeout_s=20)] == ["door"]
    worker.answer(_SCORES)
    wait_for(lambda: watch.answers > before)


@contextmanager
def stranger(endpoint: str, **options: bytes) -> Iterator[zmq.Socket[bytes]]:
    """A socket like a worker's that comes without keys, or with those of its options."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as knocking:
        knocking.set(zmq.LINGER, 0)
        for name, value in options.items():
            knocking.set(getattr(zmq, name), value)
        knocking.connect(endpoint)
        yield knocking


def others(folder: Path, watch: WatchKeys, *, worker: str = "other") -> WorkerKeys:
    """Keys of a worker of somebody else's, who knows this watch's public key."""
    make(folder, worker)
    found = worker_keys(folder / f"{worker}.keys")
    assert found is not None
    return replace(found, watch=watch.public)


def test_a_worker_with_the_right_keys_works(
    keys: tuple[WatchKeys, WorkerKeys], spec: ClipSpec
) -> None:
    with Watch(keys[0]) as watch:
        assert watch.link.endpoint.startswith("tcp://127.0.0.1:")
        with WorkerEnd(watch.link.endpoint, spec, keys=keys[1], name="far") as worker:
            works(watch, worker)
        with WorkerEnd(watch.link.local_endpoint, spec, name="near") as worker:  # needs none
            works(watch, worker)
        assert (watch.heard, watch.refused) == ({b"far", b"near"}, 0)


def test_strangers_get_nothing_and_disturb_nobody(
    keys: tuple[WatchKeys, WorkerKeys], spec: ClipSpec, tmp_path: Path
) -> None:
    foreign = others(tmp_path / "foreign", keys[0])
    hello = [bytes(part) for part in pack(Hello(spec))]
    pairs = {
        "unknown key": {
            "CURVE_SERVERKEY": foreign.watch.encode(),
            "CURVE_PUBLICKEY": foreign.public.encode(),
            "CURVE_SECRETKEY": foreign.secret.encode(),
        },
        "the worker's public key, but not its secret": {
            "CURVE_SERVERKEY": foreign.watch.encode(),
            "CURVE_PUBLICKEY": keys[1].public.encode(),
            "CURVE_SECRETKEY": foreign.secret.encode(),
        },
        "another watch's key": {
            "CURVE_SERVERKEY": foreign.public.encode(),
            "CURVE_PUBLICKEY": keys[1].public.encode(),
            "CURVE_SECRETKEY": keys[1].secret.encode(),
        },
        "no key": {},
        "a password": {"PLAIN_USERNAME": b"worker", "PLAIN_PASSWORD": b"worker"},
    }
    with (
        Watch(keys[0]) as watch,
        WorkerEnd(watch.link.endpoint, spec, keys=keys[1], name="good") as worker,
    ):
        works(watch, worker)
        for who, options in pairs.items():
            before = watch.refused
            with stranger(watch.link.endpoint, IDENTITY=b"good", **options) as knocking:
                knocking.send_multipart(hello)
                wait_for(lambda before=before: watch.refused > before)
                assert not knocking.poll(100), who
            works(watch, worker)
        assert watch.heard == {b"good"}


def test_rubbish_on_the_port_gets_nothing_and_disturbs_nobody(
    keys: tuple[WatchKeys, WorkerKeys], spec: ClipSpec
) -> None:
    hello = b"".join(bytes(part) for part in pack(Hello(spec)))
    greeting = b"\xff" + 8 * b"\0" + b"\x7f"
    version_3 = greeting + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + b"\0" + 31 * b"\0"
    with (
        Watch(keys[0]) as watch,
        WorkerEnd(watch.link.endpoint, spec, keys=keys[1]) as worker,
    ):
        works(watch, worker)
        host, port = watch.link.endpoint.removeprefix("tcp://").split(":")
        for sent in (
            os.urandom(4096),
            b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
            b"\x01\x00" + hello,  # zmq's language as it was, without keys
            greeting + b"\x01\x05\x00\x00" + hello,
            version_3.replace(b"CURVE", b"NULL\0") + hello,
            version_3 + b"\x06" + (1 << 60).to_bytes(8, "big"),  # a command without an end
            version_3 + b"\x04\xc8\x05HELLO" + os.urandom(194),
            version_3 + b"\x00\x05" + hello,  # a message before it is let in
        ):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(sent)
                got = b""
                try:
                    while more := connection.recv(4096):
                        got += more
                except ConnectionResetError:  # hung up on, with some of it unread
                    pass
            assert len(got) <= 64  # a greeting, at most
            works(watch, worker)
        assert len(watch.heard) == 1


def test_those_who_connect_and_say_nothing_do_not_keep_others_out(
    keys: tuple[WatchKeys, WorkerKeys], spec: ClipSpec
) -> None:
    with Watch(keys[0]) as watch:
        host, port = watch.link.endpoint.removeprefix("tcp://").split(":")
        silent = [socket.create_connection((host, int(port)), timeout=20) for _ in range(50)]
        with WorkerEnd(watch.link.endpoint, spec, keys=keys[1]) as worker:
            works(watch, worker)
        wait_for(lambda: watch.refused >= 50)  # hung up on after five seconds
        for one in silent:
            one.close()


def test_a_worker_that_is_refused_says_what_to_do(
    keys: tuple[WatchKeys, WorkerKeys], spec: ClipSpec, tmp_path: Path
) -> None:
    foreign = others(tmp_path / "foreign", keys[0])
    with (
        Watch(keys[0]) as watch,
        WorkerEnd(watch.link.endpoint, spec, keys=foreign) as worker,
        pytest.raises(TransportError, match=r"does not know the key") as caught,
    ):
        wait_for(lambda: worker.ask(room=1, timeout_s=0.5) != ())
    message = str(caught.value)
    assert f"{foreign.file}; put `worker NAME {foreign.public}` into its watch.keys" in message
    assert "\n" not in message
    assert foreign.secret not in message
    # And that is what helps.
    watch_file = keys[0].file
    with watch_file.open("a") as text:
        text.write(f"worker other {foreign.public}\n")
    mended = watch_keys(watch_file)
    assert mended is not None
    with (
        Watch(mended) as watch,
        WorkerEnd(watch.link.endpoint, spec, keys=foreign) as worker,
    ):
        works(watch, worker)


def test_the_watch_says_whom_it_refused_once_in_a_while(
    keys: tuple[WatchKeys, WorkerKeys],
    spec: ClipSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    foreign = others(tmp_path / "foreign", keys[0])
    with Watch(keys[0]) as watch, caplog.at_level(logging.WARNING, "stream.workers.admission"):
        for times in range(1, 4):
            with (
                WorkerEnd(watch.link.endpoint, spec, keys=foreign) as worker,
                pytest.raises(TransportError),
            ):
                wait_for(lambda worker=worker: worker.ask(room=1, timeout_s=0.5) != ())
            wait_for(lambda times=times: watch.refused == times)
    assert [record.getMessage() for record in caplog.records] == [
        f"refused a worker from 127.0.0.1: its key is not in {keys[0].file}"
    ]


def test_a_worker_with_another_watchs_key_says_so_and_goes_on_trying(
    keys: tuple[WatchKeys, WorkerKeys],
    spec: ClipSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(tmp_path / "other")
    other = worker_keys(tmp_path / "other" / "worker.keys")
    assert other is not None
    with (
        Watch(keys[0]) as watch,
        WorkerEnd(watch.link.endpoint, spec, keys=other) as worker,
        caplog.at_level(logging.WARNING, "stream.workers.admission"),
    ):
        wait_for(lambda: bool(worker.ask(room=1, timeout_s=0.1)) or watch.refused >= 2)
        worker.ask(room=1, timeout_s=0.5)
        (told,) = [text for one in caplog.records if "hangs up" in (text := one.getMessage())]
        assert str(other.file) in told


def test_a_worker_whose_line_was_deleted_stays_out_until_it_is_back(
    keys: tuple[WatchKeys, WorkerKeys], spec: ClipSpec, caplog: pytest.LogCaptureFixture
) -> None:
    watch_file, ahead_s = keys[0].file, 0.0
    watch_file.write_text(watch_file.read_text().partition("worker ")[0])
    fewer = watch_keys(watch_file)
    assert fewer is not None
    assert fewer.workers == {}
    with Watch(keys[0]) as watch:
        endpoint = watch.link.endpoint
        worker = WorkerEnd(
            endpoint, spec, keys=keys[1], name="w", now=lambda: time.monotonic() + ahead_s
        )
        works(watch, worker)
    with worker, caplog.at_level(logging.WARNING, "stream.workers.admission"):
        with Watch(fewer, endpoint) as watch:
            for times in range(1, 4):
                wait_for(
                    lambda times=times: (
                        bool(worker.ask(room=1, timeout_s=0.1)) or watch.refused >= times
                    )
                )
                worker.ask(room=1, timeout_s=0.2)  # hears of it
                ahead_s += 6  # it knocks again
            assert watch.heard == set()
            told = [one.getMessage() for one in caplog.records]
            assert sum("does not know the key" in text for text in told) == 1
        with Watch(keys[0], endpoint) as watch:
            works(watch, worker)


def test_nobody_comes_in_while_nobody_decides(
    keys: tuple[WatchKeys, WorkerKeys], spec: ClipSpec
) -> None:
    with (
        SchedulerEnd("tcp://127.0.0.1:*", keys=keys[0]) as link,  # and nobody calls `receive`
        WorkerEnd(link.endpoint, spec, keys=keys[1]) as worker,
    ):
        assert worker.ask(room=1, timeout_s=0.5) == ()
        for _ in range(100):
            heard = link.receive()
            if heard is not None:
                break
            worker.ask(room=1, timeout_s=0.1)
        assert heard is not None
        assert isinstance(heard[1], Hello)
