from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream.capture.camera import ENDED, FAILED, Camera
from stream.config.config import CameraConfig
from stream.messages import ClipSpec, Moment
from stream.runtime.metrics import Metrics
from stream.sources.opencv_capture import SourceError
from tests.waiting import wait_for


class MotionJpeg(BaseHTTPRequestHandler):
    """A camera that sends nonsense among its pictures, and hangs up after ten of them."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = np.full((48, 64, 3), 90, np.uint8)
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        for number in range(10):
            if number == 5:
                self.wfile.write(bytes(range(256)) * 40)  # garbage between two pictures
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hanging_up() -> Iterator[str]:
    """Address of an HTTP camera that breaks off again and again."""
    with ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://user:secret@127.0.0.1:{server.server_port}/video"
        server.shutdown()
        thread.join()


@pytest.fixture
def run_camera(clock) -> Iterator[Callable[..., Camera]]:
    started: list[Camera] = []

    def run(source: int | str, metrics: Metrics, spec: ClipSpec | None) -> Camera:
        # A clock far ahead: every picture is due already, so a file is read without waiting.
        ahead = iter(range(10**6))
        camera = Camera(
            "door", CameraConfig(source=source), metrics, now=lambda: 1000.0 * next(ahead)
        )
        started.append(camera)
        camera.start()
        if spec is not None:
            camera.watch(spec)
        return camera

    yield run
    for camera in started:
        camera.tell_stop()
        assert camera.join(5)


def test_a_file_goes_whole_into_ring_and_picture(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    pictures = [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(10)]
    metrics = Metrics()
    camera = run_camera(str(write_video(pictures)), metrics, spec)
    assert camera.join(10)
    assert camera.state == ENDED
    assert metrics.total("frames") == 10
    assert camera.streams[0].ring is not None
    assert camera.streams[0].ring.newest_s == pytest.approx(9 / 25)
    frames, _, _ = camera.streams[0].ring.window(spec.times(9 / 25))
    assert frames.shape == (4, 8, 8, 3)
    picture = camera.picture.jpeg()
    assert picture is not None
    assert picture[0].index == 9
    assert picture[1][:2] == b"\xff\xd8"


def test_a_camera_may_choose_how_wide_pictures_fit(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    file = write_video([np.full((32, 64, 3), 200, np.uint8)] * 10)
    camera = Camera("wide", CameraConfig(source=str(file), fit="letterbox"), Metrics())
    camera.start()
    camera.watch(spec)  # squash
    assert camera.join(10)
    assert camera.streams[0].ring is not None
    frames, _, _ = camera.streams[0].ring.window(spec.times(9 / 25))
    assert (frames[:, :2] == 115).all()
    assert (frames[:, 2:6] > 190).all()


def test_a_file_waits_until_somebody_watches(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    metrics = Metrics()
    file = write_video([np.zeros((48, 64, 3), np.uint8)] * 3)
    camera = run_camera(str(file), metrics, None)
    assert not camera.join(0.0)
    assert metrics.total("frames") == 0
    camera.watch(spec)
    assert camera.join(10)
    assert metrics.total("frames") == 3


def test_a_camera_that_cannot_be_opened_has_failed_and_says_why(
    tmp_path: Path, run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    file = tmp_path / "broken.mp4"
    file.write_bytes(b"nothing")
    camera = run_camera(str(file), Metrics(), spec)
    assert camera.join(10)
    assert camera.state == FAILED
    assert "broken.mp4: not a video" in camera.reason


def test_what_can_be_no_source_is_refused_at_once() -> None:
    with pytest.raises(SourceError):
        Camera("door", CameraConfig(source="gopher://x"), Metrics())


def test_a_slow_camera_is_told_once_by_name(
    write_video: Callable[..., Path],
    run_camera: Callable[..., Camera],
    spec: ClipSpec,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = write_video([np.zeros((48, 64, 3), np.uint8)] * 60, fps=5)
    run_camera(str(file), Metrics(), spec).join(10)
    told = [record for record in caplog.records if "frames a second" in record.message]
    assert len(told) == 1
    assert "camera door gives 5.0" in told[0].message


def test_a_jpeg_is_made_once_for_all_viewers(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    camera = run_camera(str(write_video([np.zeros((48, 64, 3), np.uint8)] * 2)), Metrics(), spec)
    camera.join(10)
    assert camera.picture.jpeg() is camera.picture.jpeg()


def test_watchers_are_told_until_they_leave(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    told = threading.Semaphore(0)
    camera = run_camera(str(write_video([np.zeros((48, 64, 3), np.uint8)] * 3)), Metrics(), None)
    leave = camera.picture.subscribe(told.release)
    camera.picture.subscribe(lambda: None)
    camera.watch(spec)
    camera.join(10)
    for _ in range(3):
        assert told.acquire(timeout=5)
    leave()
    assert camera.picture.frame is not None
    camera.picture.put(camera.picture.frame)
    assert not told.acquire(blocking=False)


def test_reconnects_after_the_camera_hung_up(
    hanging_up: str, spec: ClipSpec, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, frames = Metrics(), threading.Semaphore(0)
    times: list[float] = []
    camera = Camera("door", CameraConfig(source=hanging_up), metrics, first_pause_s=0.01)

    def take() -> None:
        assert camera.picture.frame is not None
        times.append(camera.picture.frame.time_s)
        frames.release()

    camera.picture.subscribe(take)
    camera.watch(spec)
    with caplog.at_level("INFO"):
        camera.start()
        try:
            for _ in range(25):
                assert frames.acquire(timeout=30)
        finally:
            camera.tell_stop()
            assert camera.join(10)
    assert metrics.total("reconnect_attempts") >= 2
    assert times == sorted(times)  # its clock goes on
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "offline" in told
    assert "secret" not in told


class Hanging:
    """A camera that gives two pictures, and then hangs until `released`."""

    finite = False
    released = threading.Event()

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._count = now, 0
        self._began_at = now()

    def grab(self, stop: threading.Event) -> Moment | None:
        self._count += 1
        if self._count == 3 and not self.released.is_set():
            self.released.wait(30)
            return Moment(10_000.0, self._now())  # much too late: it must change nothing
        return Moment(self._now() - self._began_at, self._now())

    def picture(self) -> np.ndarray:
        return np.zeros((48, 64, 3), np.uint8)

    def close(self) -> None:
        pass


def test_where_reads_hang_the_camera_gets_a_process_and_no_more_threads(spec: ClipSpec) -> None:
    metrics = Metrics()
    isolated: list[bool] = []

    def opener(source: object, *, now: Callable[[], float], **how: bool) -> Hanging:
        isolated.append(how["isolated"])
        if isolated[-1]:
            raise SourceError("not here")  # what such a process does is tested with a real camera
        return Hanging(now)

    Hanging.released.clear()
    config = CameraConfig(source="demo:", stall_after=0.05, read_timeout=0.01, retry_max=1)
    camera = Camera("door", config, metrics, opener=opener, first_pause_s=0.02)
    camera.watch(spec)
    camera.start()
    try:
        wait_for(lambda: isolated.count(True) >= 2)
        threads = isolated.index(True)  # opened by threads until three are known to hang
        assert threads in (3, 4)
        totals = metrics.totals()
        assert (totals["stalls"], totals["abandoned_reads"]) == (threads, threads)
        assert totals["isolated_openings"] >= 2
        Hanging.released.set()
        wait_for(lambda: not isolated[-1])  # the threads came back
        assert (camera.streams[0].ring.newest_s or 0.0) < 1000.0  # what came too late was refused
    finally:
        Hanging.released.set()
        camera.tell_stop()
        assert camera.join(5)
