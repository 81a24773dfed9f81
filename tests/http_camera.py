"""A network camera: frames with a burnt-in clock, as motion JPEG over HTTP, in real time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from tests import burnt_clock

PERIOD_S = 2**burnt_clock.BITS / 1000  # after which the clock restarts
_PAGE = b"<!doctype html><title>camera</title><img src='/' alt='camera'>"


class HttpCamera:
    """Sends `fps` frames a second to every client, while it is on.

    `draw` gets the time since 1970 modulo PERIOD_S, in seconds; each frame is drawn once for all
    clients. "/page" is a page that shows the stream in an <img>. A slow client misses frames, or,
    if the camera has a `queue`, gets each one late.
    """

    def __init__(
        self,
        fps: float,
        draw: Callable[[float], np.ndarray],
        *,
        port: int = 0,
        queue: bool = False,
    ) -> None:
        self._fps, self._draw, self._queue = fps, draw, queue
        self._on = threading.Event()
        self._on.set()
        self._lock = threading.Lock()
        self._latest: tuple[int, bytes] = (-1, b"")  # index and JPEG
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def start(self) -> None:
        self._thread.start()

    def switch(self, *, on: bool) -> None:
        """While off, it disconnects its clients and rejects new ones."""
        if on:
            self._on.set()
        else:
            self._on.clear()

    def close(self) -> None:
        self.switch(on=False)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def parts(self) -> Iterator[bytes]:
        """Frames in real time, each with the boundary after it: browsers wait for that."""
        yield b"--frame\r\n"
        index = int(time.time() * self._fps)
        while self._on.is_set():
            index = index + 1 if self._queue else int(time.time() * self._fps) + 1
            time.sleep(max(0.0, index / self._fps - time.time()))
            jpeg = self._jpeg(index)
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n--frame\r\n"

    def _jpeg(self, index: int) -> bytes:
        with self._lock:
            if index > self._latest[0]:
                now = index / self._fps if self._queue else time.time()
                bgr = cv2.cvtColor(self._draw(now % PERIOD_S), cv2.COLOR_RGB2BGR)
                jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
                self._latest = (index, jpeg)
            return self._latest[1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not camera._on.is_set():
                    self.send_error(503)
                    return
                kind = "multipart/x-mixed-replace; boundary=frame"
                parts: Iterator[bytes] = camera.parts()
                if self.path == "/page":
                    kind, parts = "text/html", iter([_PAGE])
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                with contextlib.suppress(OSError):  # the client disconnected
                    for part in parts:
                        self.wfile.write(part)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def http_camera(*, width: int = 640, height: int = 480, fps: float = 15.0) -> Iterator[HttpCamera]:
    """A running camera."""
    camera = HttpCamera(fps, lambda now: burnt_clock.draw(now, width=width, height=height))
    camera.start()
    try:
        yield camera
    finally:
        camera.close()
