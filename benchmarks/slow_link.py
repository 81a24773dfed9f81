"""A TCP proxy with limited bandwidth between browser and server, for benchmarks."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 8192  # bytes
_SOCKET_BUFFER = 64 * 1024  # bytes buffered by the link itself


class _RateLimiter:
    """Limits the rate of all connections of a link together."""

    def __init__(self, bytes_s: float) -> None:
        self._bytes_s = bytes_s
        self._free_at = 0.0
        self._lock = threading.Lock()

    def wait(self, size: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._bytes_s
            delay_s = self._free_at - now
        time.sleep(delay_s)


@contextmanager
def slow_link(port: int, *, bytes_s: float) -> Iterator[int]:
    """Yields a port that forwards to a server on port `port` over the link."""
    limiter = _RateLimiter(bytes_s)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def accept() -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                near, _ = listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
                far.connect(("127.0.0.1", port))
                for source, sink, limit in ((near, far, None), (far, near, limiter)):
                    threading.Thread(target=_pump, args=(source, sink, limit), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pump(source: socket.socket, sink: socket.socket, limiter: _RateLimiter | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            if limiter is not None:
                limiter.wait(len(data))
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
