"""Cameras on a real RTSP server that is killed, stopped, silent, or sends garbage."""

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
from stream.sources.base import NetworkOptions, OpenOptions, Source, SourceError, open_source
from stream.sources.source_clock import SourceClock
from tests.rtsp import Server, gstreamer
from tests.waiting import wait_for

_PASSWORD = "pa@ss/wo:rd"
RETRY_MAX_S = 1.0
QUICK = {"open_timeout": 1, "read_timeout": 1, "stall_timeout": 2, "max_retry_delay": RETRY_MAX_S}


class FixedResponder:
    """A TCP server that is no camera: it sends fixed bytes to each client, and then nothing."""

    def __init__(self, response: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._response = response
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._clients.append(client)
            if self._clients[0] is not client and client.recv(4, socket.MSG_PEEK) == b"stop":
                return
            client.sendall(self._response)

    def close(self) -> None:
        self._clients.append(socket.socket())  # so that the stopping client is not the first
        with socket.create_connection(self._listener.getsockname()) as client:
            client.sendall(b"stop")
            self._thread.join(60)
        for client in (*self._clients, self._listener):
            client.close()


@pytest.fixture
def start_camera(spec: ClipSpec) -> Iterator[Callable[..., Camera]]:
    """Start cameras; at the end each must stop quickly, whatever its server does."""
    started: list[Camera] = []

    def start(source: str, metrics: Metrics | None = None, **options: object) -> Camera:
        config = CameraConfig.model_validate({"source": source, **(options or QUICK)})
        camera = Camera("door", config, metrics or Metrics(), initial_retry_delay_s=0.1)
        camera.start_buffering(spec)
        camera.start()
        started.append(camera)
        return camera

    yield start
    for camera in started:
        camera.request_stop()
    for camera in started:
        assert camera.join(3)


def is_live(camera: Camera) -> bool:
    return camera.state == LIVE


def read_until_error(source: Source) -> None:
    stop = threading.Event()
    while source.grab(stop) is not None:
        pass


def newest_s(camera: Camera) -> float | None:
    ring = camera.streams[0].ring
    return None if ring is None else ring.newest_s


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "does not answer on port"),
        (os.urandom(4096), "does not speak rtsp on that port"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 9999\r\n\r\n", "sends no video that can be decoded"),
        (b"RTSP/1.0 404 Not Found\r\n\r\n", "no stream of that path"),
        (b"RTSP/1.0 503 Service Unavailable\r\n\r\n", "answers with error 503"),
    ],
    ids=["silent", "garbage", "no video", "no such stream", "error"],
)
def test_server_that_is_no_camera_is_offline_with_a_reason(
    start_camera: Callable[..., Camera], response: bytes, reason: str
) -> None:
    server = FixedResponder(response)
    try:
        camera = start_camera(server.address)
        wait_for(lambda: camera.state == OFFLINE)
        camera.request_stop()
        assert camera.join(3)
    finally:
        server.close()
    assert camera.reason.startswith(f"source {server.address} can't be reached: ")
    assert reason in camera.reason


def test_silent_server_is_detected_in_ten_seconds_with_default_timeouts(
    start_camera: Callable[..., Camera],
) -> None:
    defaults = CameraConfig(source=0)
    server = FixedResponder(b"")
    try:
        camera = start_camera(server.address, stall_timeout=defaults.stall_timeout)
        wait_for(lambda: camera.state == OFFLINE, timeout_s=10)
        camera.request_stop()
        assert camera.join(3)
    finally:
        server.close()


def test_unknown_host_is_offline(start_camera: Callable[..., Camera]) -> None:
    metrics = Metrics()
    camera = start_camera("rtsp://viewer:secret@nowhere.invalid/live", metrics)
    wait_for(lambda: camera.state == OFFLINE)
    assert "nowhere.invalid/live can't be reached: no host of the name nowhere" in camera.reason
    wait_for(lambda: metrics.total("reconnect_attempts") >= 2)  # the host may appear later


@gstreamer
def test_camera_reconnects_after_its_server_was_killed(
    serve_rtsp: Callable[..., Server],
    start_camera: Callable[..., Camera],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", _PASSWORD)
    protected, other = serve_rtsp("--password", _PASSWORD), serve_rtsp()
    metrics, other_metrics = Metrics(), Metrics()
    address = f"rtsp://viewer:${{DOOR_PASSWORD}}@127.0.0.1:{protected.port}/live"
    with caplog.at_level("DEBUG"):
        camera = start_camera(address, metrics)
        other_camera = start_camera(f"rtsp://127.0.0.1:{other.port}/live", other_metrics)
        wait_for(lambda: is_live(camera) and is_live(other_camera))
        killed_at, before = time.monotonic(), other_metrics.totals()
        protected.kill()
        wait_for(lambda: camera.state == OFFLINE)
        assert newest_s(camera) is None  # no window may span the gap
        wait_for(lambda: metrics.total("reconnect_attempts") >= 2)
        protected.start()
        # One retry delay, and the time to open.
        assert wait_for(lambda: is_live(camera)) < 1.25 * RETRY_MAX_S + 3
        after, elapsed_s = other_metrics.totals(), time.monotonic() - killed_at
        wait_for(lambda: newest_s(camera) is not None)
    assert (newest_s(camera) or 0.0) > 1.0  # its clock continues
    for counter in ("stalls", "reconnect_attempts", "gaps"):
        assert after.get(counter) == before.get(counter)
    assert is_live(other_camera)
    assert elapsed_s > 1.0
    frames = after["frames"] - before["frames"]
    assert frames / elapsed_s == pytest.approx(25, rel=0.05, abs=2 / elapsed_s)
    assert _PASSWORD not in caplog.text
    assert "viewer" not in caplog.text


@gstreamer
def test_wrong_password_is_offline(
    serve_rtsp: Callable[..., Server], start_camera: Callable[..., Camera]
) -> None:
    server = serve_rtsp("--password", _PASSWORD)
    camera = start_camera(f"rtsp://viewer:wrong@127.0.0.1:{server.port}/live")
    wait_for(lambda: camera.state == OFFLINE)
    assert "it rejects this user and password" in camera.reason
    assert "wrong" not in camera.reason
    anonymous = start_camera(f"rtsp://127.0.0.1:{server.port}/live")
    wait_for(lambda: anonymous.state == OFFLINE)
    assert "it needs user and password" in anonymous.reason


@gstreamer
@pytest.mark.parametrize("options", [QUICK, {"stall_timeout": 5}], ids=["quick", "default"])
def test_stalled_camera_is_reopened(
    serve_rtsp: Callable[..., Server],
    start_camera: Callable[..., Camera],
    options: dict[str, float],
) -> None:
    server, metrics = serve_rtsp(), Metrics()
    camera = start_camera(f"rtsp://127.0.0.1:{server.port}/live", metrics, **options)
    wait_for(lambda: is_live(camera))
    server.signal(signal.SIGSTOP)
    try:
        wait_for(lambda: camera.state in (STALLED, OFFLINE))
    finally:
        server.signal(signal.SIGCONT)
    wait_for(lambda: is_live(camera))
    before = metrics.total("frames")
    wait_for(lambda: metrics.total("frames") > before + 10)


@gstreamer
def test_frame_size_may_change(
    serve_rtsp: Callable[..., Server], start_camera: Callable[..., Camera]
) -> None:
    server = serve_rtsp("--resize-after", "2")
    camera = start_camera(f"rtsp://127.0.0.1:{server.port}/live")
    unsubscribe = camera.latest_frame.subscribe(lambda: None)

    def brightness() -> float:
        frame = camera.latest_frame.frame
        return 0.0 if frame is None else float(frame.pixels.mean())

    wait_for(lambda: brightness() > 0)
    before = brightness()
    # OpenCV keeps the first frame size: the ball in the frames gets smaller.
    wait_for(lambda: brightness() < 0.7 * before)
    wait_for(lambda: is_live(camera))
    unsubscribe()


@gstreamer
def test_camera_is_read_in_a_subprocess(
    serve_rtsp: Callable[..., Server],
    start_camera: Callable[..., Camera],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", _PASSWORD)
    server, metrics = serve_rtsp("--password", _PASSWORD), Metrics()
    options = NetworkOptions(read_timeout_s=1.0)
    address = f"rtsp://viewer:${{DOOR_PASSWORD}}@127.0.0.1:{server.port}/live"
    stop = threading.Event()
    clock = SourceClock(count=lambda name: metrics.count(name))
    with contextlib.closing(
        open_source(address, OpenOptions(clock=clock, network=options, in_subprocess=True))
    ) as source:
        moments = [source.grab(stop) for _ in range(10)]
        times = [moment.time_s for moment in moments if moment is not None]
        assert np.diff(times) == pytest.approx(1 / 25, abs=0.005)  # the camera's presentation times
        frame = source.retrieve()
        assert frame is not None
        assert frame.shape == (240, 320, 3)
        server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(SourceError, match="delivers no more frames"):
                read_until_error(source)
        finally:
            server.signal(signal.SIGCONT)
    with pytest.raises(SourceError, match="nothing listens on port 9"):
        open_source("rtsp://127.0.0.1:9/live", OpenOptions(network=options, in_subprocess=True))
