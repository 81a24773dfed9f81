from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream.capture.camera import ENDED, FAILED, Camera
from stream.config.config import CameraConfig
from stream.messages import ClipSpec, FrameTime
from stream.runtime.metrics import Metrics
from stream.sources.base import (
    OpenOptions,
    PermanentSourceError,
    Source,
    SourceError,
    open_source,
)
from tests.waiting import wait_for


class MotionJpeg(BaseHTTPRequestHandler):
    """A camera that sends garbage between its frames, and disconnects after ten of them."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        frame = np.full((48, 64, 3), 90, np.uint8)
        jpeg = cv2.imencode(".jpg", frame)[1].tobytes()
        for number in range(10):
            if number == 5:
                self.wfile.write(bytes(range(256)) * 40)  # garbage between two frames
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def disconnecting_camera() -> Iterator[str]:
    """Address of an HTTP camera that disconnects repeatedly."""
    with ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://user:secret@127.0.0.1:{server.server_port}/video"
        server.shutdown()
        thread.join()


@pytest.fixture
def run_camera() -> Iterator[Callable[..., Camera]]:
    started: list[Camera] = []

    def run(source: int | str, metrics: Metrics, spec: ClipSpec | None) -> Camera:
        camera = Camera("door", CameraConfig(source=source), metrics, paced=False)
        started.append(camera)
        camera.start()
        if spec is not None:
            camera.start_buffering(spec)
        return camera

    yield run
    for camera in started:
        camera.request_stop()
        assert camera.join(60)


def test_all_frames_of_a_file_reach_ring_and_latest_frame(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    video = [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(10)]
    metrics = Metrics()
    camera = run_camera(str(write_video(video)), metrics, spec)
    assert camera.join(60)
    assert camera.state == ENDED
    assert metrics.total("frames") == 10
    assert camera.streams[0].ring is not None
    assert camera.streams[0].ring.newest_s == pytest.approx(9 / 25)
    frames, _, _ = camera.streams[0].ring.window(spec.times(9 / 25))
    assert frames.shape == (4, 8, 8, 3)
    newest = camera.latest_frame.jpeg()
    assert newest is not None
    assert newest[0].index == 9
    assert newest[1][:2] == b"\xff\xd8"


def test_camera_config_overrides_fit(write_video: Callable[..., Path], spec: ClipSpec) -> None:
    file = write_video([np.full((32, 64, 3), 200, np.uint8)] * 10)
    camera = Camera("wide", CameraConfig(source=str(file), fit="letterbox"), Metrics())
    camera.start()
    camera.start_buffering(spec)  # squash
    assert camera.join(60)
    assert camera.streams[0].ring is not None
    frames, _, _ = camera.streams[0].ring.window(spec.times(9 / 25))
    assert (frames[:, :2] == 115).all()
    assert (frames[:, 2:6] > 190).all()


def test_file_waits_until_buffering_starts(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    metrics = Metrics()
    file = write_video([np.zeros((48, 64, 3), np.uint8)] * 3)
    camera = run_camera(str(file), metrics, None)
    assert not camera.join(0.0)
    assert metrics.total("frames") == 0
    camera.start_buffering(spec)
    assert camera.join(60)
    assert metrics.total("frames") == 3


def test_video_on_a_web_server_waits_until_buffering_starts(
    write_video: Callable[..., Path], spec: ClipSpec
) -> None:
    video = [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(10)]
    file = write_video(video, fps=10, name="clip.avi")
    handler = partial(QuietFiles, directory=str(file.parent))
    opened = threading.Event()

    def opener(source: int | str, options: OpenOptions) -> Source:
        try:
            return open_source(source, options)
        finally:
            opened.set()

    metrics = Metrics()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/clip.avi"
        camera = Camera("clip", CameraConfig(source=address), metrics, opener=opener)
        camera.start()
        try:
            assert opened.wait(30)
            assert not camera.join(0.3)  # three frames would have passed
            assert metrics.total("frames") == 0
            camera.start_buffering(spec)
            assert camera.join(30)
        finally:
            camera.request_stop()
            server.shutdown()
            thread.join()
    assert camera.state == ENDED
    assert metrics.total("frames") == 10
    assert camera.streams[0].ring is not None
    frames, _, _ = camera.streams[0].ring.window(np.array([0.0]))
    assert frames.mean() == pytest.approx(0, abs=10)  # the first frame


def test_unreadable_file_fails_with_a_reason(
    tmp_path: Path, run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    file = tmp_path / "broken.mp4"
    file.write_bytes(b"nothing")
    camera = run_camera(str(file), Metrics(), spec)
    assert camera.join(60)
    assert camera.state == FAILED
    assert "broken.mp4: not a video" in camera.reason


def test_invalid_source_is_rejected_at_once() -> None:
    with pytest.raises(SourceError):
        Camera("door", CameraConfig(source="gopher://x"), Metrics())


def test_slow_camera_is_warned_about_once(
    write_video: Callable[..., Path],
    run_camera: Callable[..., Camera],
    spec: ClipSpec,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = write_video([np.zeros((48, 64, 3), np.uint8)] * 60, fps=5)
    run_camera(str(file), Metrics(), spec).join(60)
    warnings = [record for record in caplog.records if "fps" in record.message]
    assert len(warnings) == 1
    assert "camera door delivers 5.0 fps" in warnings[0].message


def test_jpeg_is_encoded_once_for_all_viewers(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    camera = run_camera(str(write_video([np.zeros((48, 64, 3), np.uint8)] * 2)), Metrics(), spec)
    camera.join(60)
    first, second = camera.latest_frame.jpeg(), camera.latest_frame.jpeg()
    assert first is not None
    assert second is not None
    assert first[1] is second[1]


def test_subscribers_are_called_until_they_unsubscribe(
    write_video: Callable[..., Path], run_camera: Callable[..., Camera], spec: ClipSpec
) -> None:
    calls = threading.Semaphore(0)
    camera = run_camera(str(write_video([np.zeros((48, 64, 3), np.uint8)] * 3)), Metrics(), None)
    unsubscribe = camera.latest_frame.subscribe(calls.release)
    camera.latest_frame.subscribe(lambda: None)
    camera.start_buffering(spec)
    camera.join(60)
    for _ in range(3):
        assert calls.acquire(timeout=60)
    unsubscribe()
    assert camera.latest_frame.frame is not None
    camera.latest_frame.put(camera.latest_frame.frame)
    assert not calls.acquire(blocking=False)


def test_camera_that_disconnects_is_reopened(
    disconnecting_camera: str, spec: ClipSpec, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, frames = Metrics(), threading.Semaphore(0)
    times: list[float] = []
    camera = Camera(
        "door", CameraConfig(source=disconnecting_camera), metrics, initial_retry_delay_s=0.01
    )

    def on_frame() -> None:
        assert camera.latest_frame.frame is not None
        times.append(camera.latest_frame.frame.time_s)
        frames.release()

    camera.latest_frame.subscribe(on_frame)
    camera.start_buffering(spec)
    with caplog.at_level("INFO"):
        camera.start()
        try:
            for _ in range(25):
                assert frames.acquire(timeout=30)
        finally:
            camera.request_stop()
            assert camera.join(60)
    assert metrics.total("reconnect_attempts") >= 2
    assert times == sorted(times)  # its clock continues
    messages = " ".join(record.getMessage() for record in caplog.records)
    assert "offline" in messages
    assert "secret" not in messages


def test_crashes_of_a_camera_and_of_its_capture_are_counted() -> None:
    metrics = Metrics()
    errors = iter([RuntimeError("of the capture"), PermanentSourceError("not here")])

    def opener(source: object, options: OpenOptions) -> Source:
        raise next(errors)

    def on_frame(camera: Camera) -> None:
        raise RuntimeError("of the camera")

    camera = Camera(
        "door",
        CameraConfig(source="demo:"),
        metrics,
        opener=opener,
        on_frame=on_frame,
        initial_retry_delay_s=0.01,
    )
    camera.start()
    wait_for(lambda: metrics.total("thread_crashes") == 2)
    assert camera.join(60)
    assert next(errors, None) is None
    assert (camera.state, camera.reason) == (
        FAILED,
        "camera door crashed: RuntimeError: of the camera",
    )
    assert metrics.totals("door")["thread_crashes"] == 2


class HangingSource:
    """A source that delivers two frames, and then hangs until `released`."""

    finite = False
    released = threading.Event()

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._count = now, 0
        self._started_at = now()

    def grab(self, stop: threading.Event) -> FrameTime | None:
        self._count += 1
        if self._count == 3 and not self.released.is_set():
            self.released.wait(30)
            return FrameTime(10_000.0, self._now())  # much too late: it must be rejected
        return FrameTime(self._now() - self._started_at, self._now())

    def retrieve(self) -> np.ndarray:
        return np.zeros((48, 64, 3), np.uint8)

    def close(self) -> None:
        pass


def test_camera_with_hung_reads_is_read_in_a_subprocess(spec: ClipSpec) -> None:
    metrics = Metrics()
    in_subprocess: list[bool] = []

    def opener(source: object, options: OpenOptions) -> HangingSource:
        in_subprocess.append(options.in_subprocess)
        if in_subprocess[-1]:
            raise SourceError("not here")  # SubprocessCapture is tested with a real camera
        return HangingSource(options.now)

    HangingSource.released.clear()
    config = CameraConfig(source="demo:", stall_timeout=0.05, read_timeout=0.01, max_retry_delay=1)
    camera = Camera("door", config, metrics, opener=opener, initial_retry_delay_s=0.02)
    camera.start_buffering(spec)
    camera.start()
    try:
        wait_for(lambda: in_subprocess.count(True) >= 2)
        threads = in_subprocess.index(True)  # opened in threads until three are known to hang
        assert threads in (3, 4)
        totals = metrics.totals()
        assert (totals["stalls"], totals["hung_reads"]) == (threads, threads)
        assert totals["subprocess_captures"] >= 2
        HangingSource.released.set()
        wait_for(lambda: not in_subprocess[-1])  # the threads returned
        assert (camera.streams[0].ring.newest_s or 0.0) < 1000.0  # the late frame was rejected
    finally:
        HangingSource.released.set()
        camera.request_stop()
        assert camera.join(60)
