from __future__ import annotations

import fcntl
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from stream.sources.base import NetworkOptions
from stream.sources.subprocess_capture import SubprocessCapture
from tests.waiting import wait_for

FRAME_BYTES = 16 + 16 * 16 * 3  # header and pixels


@contextmanager
def camera_that_pauses(frames: int) -> Iterator[str]:
    """Address of a camera that sends small frames at once, and then nothing more."""
    finished = threading.Event()
    jpeg = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            self.wfile.write((head.encode() + jpeg + b"\r\n") * frames)
            finished.wait(60)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/video"
        finally:
            finished.set()
            server.shutdown()
            thread.join()


def waiting_bytes(capture: SubprocessCapture) -> int:
    """Bytes in the pipe from the process."""
    answer = fcntl.ioctl(capture._out.fileno(), termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(answer, sys.byteorder)


def test_frames_that_arrived_together_are_all_read() -> None:
    options = NetworkOptions(open_timeout_s=20.0, read_timeout_s=3.0)
    with camera_that_pauses(12) as address:
        capture = SubprocessCapture(address, options)
        try:
            assert capture.isOpened()
            # ffmpeg holds the last frames back until the next ones arrive.
            wait_for(lambda: waiting_bytes(capture) >= 8 * FRAME_BYTES)
            frames = waiting_bytes(capture) // FRAME_BYTES
            assert [capture.grab() for _ in range(frames)] == [True] * frames
            decoded, frame = capture.retrieve()
            assert decoded
            assert frame.shape == (16, 16, 3)
        finally:
            capture.release()
