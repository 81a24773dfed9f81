"""Cameras on a real RTSP server, which is killed, stopped, mute, or talks nonsense."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from stream.capture.camera import LIVE, OFFLINE, STALLED, Camera
from stream.config.config import CameraConfig
from stream.messages import ClipSpec
from stream.runtime.metrics import Metrics
from stream.sources.base import Source, open_source
from stream.sources.opencv_capture import NetworkOptions, SourceError
from stream.sources.source_clock import SourceClock
from tests.rtsp import Server, gstreamer
from tests.waiting import wait_for

_PASSWORD = "pa@ss/wo:rd"
RETRY_MAX_S = 1.0
QUICK = {"open_timeout": 1, "read_timeout": 1, "stall_after": 2, "retry_max": RETRY_MAX_S}


class Talker:
    """A TCP server that is no camera: it says one thing to whoever comes, and then nothing."""

    def __init__(self, words: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._words = words
        self._guests: list[socket.socket] = []
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        while True:
            guest, _ = self._listener.accept()
            self._guests.append(guest)
            if self._guests[0] is not guest and guest.recv(4, socket.MSG_PEEK) == b"stop":
                return
            guest.sendall(self._words)

    def close(self) -> None:
        self._guests.append(socket.socket())  # so that the one that stops is not the first
        with socket.create_connection(self._listener.getsockname()) as guest:
            guest.sendall(b"stop")
            self._thread.join(5)
        for guest in (*self._guests, self._listener):
            guest.close()


@pytest.fixture
def watch(spec: ClipSpec) -> Iterator[Callable[..., Camera]]:
    """Start cameras; at the end each must stop soon, whatever its server does."""
    started: list[Camera] = []

    def start(source: str, metrics: Metrics | None = None, **options: object) -> Camera:
        config = CameraConfig.model_validate({"source": source, **(options or QUICK)})
        camera = Camera("door", config, metrics or Metrics(), first_pause_s=0.1)
        camera.watch(spec)
        camera.start()
        started.append(camera)
        return camera

    yield start
    for camera in started:
        camera.tell_stop()
    for camera in started:
        assert camera.join(3)


def is_live(camera: Camera) -> bool:
    return camera.state == LIVE


def read_on(source: Source) -> None:
    stop = threading.Event()
    while source.grab(stop) is not None:
        pass


def newest_s(camera: Camera) -> float | None:
    ring = camera.streams[0].ring
    return None if ring is None else ring.newest_s


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"", "does not answer on port"),
        (os.urandom(4096), "does not speak rtsp on that port"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 9999\r\n\r\n", "sends no video that can be decoded"),
        (b"RTSP/1.0 404 Not Found\r\n\r\n", "no stream of that path"),
        (b"RTSP/1.0 503 Service Unavailable\r\n\r\n", "answers with error 503"),
    ],
    ids=["mute", "garbage", "no video", "no such stream", "error"],
)
def test_a_server_that_is_no_camera_makes_a_camera_offline_and_says_why(
    watch: Callable[..., Camera], words: bytes, told: str
) -> None:
    talker = Talker(words)
    try:
        camera = watch(talker.address)
        wait_for(lambda: camera.state == OFFLINE, within_s=10)
        camera.tell_stop()
        assert camera.join(3)
    finally:
        talker.close()
    assert camera.reason.startswith(f"source {talker.address} can't be reached: ")
    assert told in camera.reason


def test_with_the_usual_time_outs_a_mute_server_is_noticed_in_ten_seconds(
    watch: Callable[..., Camera],
) -> None:
    usual = CameraConfig(source=0)
    talker = Talker(b"")
    try:
        camera = watch(talker.address, stall_after=usual.stall_after)
        wait_for(lambda: camera.state == OFFLINE, within_s=10)
        camera.tell_stop()
        assert camera.join(3)
    finally:
        talker.close()


def test_a_host_that_there_is_not_makes_a_camera_offline(watch: Callable[..., Camera]) -> None:
    metrics = Metrics()
    camera = watch("rtsp://viewer:secret@nowhere.invalid/live", metrics)
    wait_for(lambda: camera.state == OFFLINE, within_s=10)
    assert "nowhere.invalid/live can't be reached: no host of the name nowhere" in camera.reason
    wait_for(lambda: metrics.total("reconnect_attempts") >= 2)  # it might be there later


@gstreamer
def test_a_killed_server_is_noticed_and_its_return_too(
    serve_rtsp: Callable[..., Server],
    watch: Callable[..., Camera],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", _PASSWORD)
    guarded, other = serve_rtsp("--password", _PASSWORD), serve_rtsp()
    counted, untouched = Metrics(), Metrics()
    address = f"rtsp://viewer:${{DOOR_PASSWORD}}@127.0.0.1:{guarded.port}/live"
    with caplog.at_level("DEBUG"):
        camera = watch(address, counted)
        beside = watch(f"rtsp://127.0.0.1:{other.port}/live", untouched)
        wait_for(lambda: is_live(camera) and is_live(beside))
        began, before = time.monotonic(), untouched.totals()
        guarded.kill()
        wait_for(lambda: camera.state == OFFLINE, within_s=10)
        assert newest_s(camera) is None  # no window may span the gap
        wait_for(lambda: counted.total("reconnect_attempts") >= 2)
        guarded.start()
        # One back-off, and what opening takes.
        assert wait_for(lambda: is_live(camera)) < 1.25 * RETRY_MAX_S + 3
        after, took_s = untouched.totals(), time.monotonic() - began
        wait_for(lambda: newest_s(camera) is not None)
    assert (newest_s(camera) or 0.0) > 1.0  # its clock goes on
    for trouble in ("stalls", "reconnect_attempts", "gaps"):
        assert after.get(trouble) == before.get(trouble)
    assert is_live(beside)
    assert took_s > 1.0
    frames = after["frames"] - before["frames"]
    assert frames / took_s == pytest.approx(25, rel=0.05, abs=2 / took_s)
    assert _PASSWORD not in caplog.text
    assert "viewer" not in caplog.text


@gstreamer
def test_a_wrong_password_makes_a_camera_offline(
    serve_rtsp: Callable[..., Server], watch: Callable[..., Camera]
) -> None:
    server = serve_rtsp("--password", _PASSWORD)
    camera = watch(f"rtsp://viewer:wrong@127.0.0.1:{server.port}/live")
    wait_for(lambda: camera.state == OFFLINE, within_s=10)
    assert "it refuses this user and password" in camera.reason
    assert "wrong" not in camera.reason
    nobody = watch(f"rtsp://127.0.0.1:{server.port}/live")
    wait_for(lambda: nobody.state == OFFLINE, within_s=10)
    assert "it asks for user and password" in nobody.reason


@gstreamer
@pytest.mark.parametrize("options", [QUICK, {"stall_after": 5}], ids=["quick", "usual"])
def test_a_server_that_stands_still_is_given_up_and_comes_back(
    serve_rtsp: Callable[..., Server], watch: Callable[..., Camera], options: dict[str, float]
) -> None:
    server, metrics = serve_rtsp(), Metrics()
    camera = watch(f"rtsp://127.0.0.1:{server.port}/live", metrics, **options)
    wait_for(lambda: is_live(camera))
    server.signal(signal.SIGSTOP)
    try:
        wait_for(lambda: camera.state in (STALLED, OFFLINE), within_s=10)
    finally:
        server.signal(signal.SIGCONT)
    wait_for(lambda: is_live(camera), within_s=20)
    before = metrics.total("frames")
    wait_for(lambda: metrics.total("frames") > before + 10)


@gstreamer
def test_pictures_may_change_their_size(
    serve_rtsp: Callable[..., Server], watch: Callable[..., Camera]
) -> None:
    server = serve_rtsp("--resize-after", "2")
    camera = watch(f"rtsp://127.0.0.1:{server.port}/live")
    leave = camera.picture.subscribe(lambda: None)

    def brightness() -> float:
        frame = camera.picture.frame
        return 0.0 if frame is None else float(frame.pixels.mean())

    wait_for(lambda: brightness() > 0)
    before = brightness()
    # OpenCV goes on giving pictures of the first size: the ball in them gets smaller.
    wait_for(lambda: brightness() < 0.7 * before, within_s=20)
    wait_for(lambda: is_live(camera), within_s=10)
    leave()


@gstreamer
def test_a_camera_on_which_reads_hang_is_watched_from_a_process(
    serve_rtsp: Callable[..., Server], watch: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", _PASSWORD)
    server, metrics = serve_rtsp("--password", _PASSWORD), Metrics()
    options = NetworkOptions(read_timeout_s=1.0)
    address = f"rtsp://viewer:${{DOOR_PASSWORD}}@127.0.0.1:{server.port}/live"
    stop = threading.Event()
    clock = SourceClock(count=lambda name: metrics.count(name))
    with contextlib.closing(
        open_source(address, clock=clock, network=options, isolated=True)
    ) as source:
        moments = [source.grab(stop) for _ in range(10)]
        times = [moment.time_s for moment in moments if moment is not None]
        assert np.diff(times) == pytest.approx(1 / 25, abs=0.005)  # the camera's own times
        picture = source.picture()
        assert picture is not None
        assert picture.shape == (240, 320, 3)
        server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(SourceError, match="gives no more pictures"):
                read_on(source)
        finally:
            server.signal(signal.SIGCONT)
    with pytest.raises(SourceError, match="nothing listens on port 9"):
        open_source("rtsp://127.0.0.1:9/live", network=options, isolated=True)
