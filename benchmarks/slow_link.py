"""A link of so many bytes a second between a browser and a server, for benchmarks."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 8192  # bytes
_HOLDS = 64 * 1024  # bytes that wait on the link itself


class _Pace:
    """Shared by all connections of a link."""

    def __init__(self, bytes_s: float) -> None:
        self._bytes_s = bytes_s
        self._free_at = 0.0
        self._lock = threading.Lock()

    def wait(self, size: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._bytes_s
            pause_s = self._free_at - now
        time.sleep(pause_s)


@contextmanager
def slow_link(host: str, port: int, *, bytes_s: float) -> Iterator[int]:
    """The port of 127.0.0.1 from which the server is reached over the link."""
    pace = _Pace(bytes_s)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _HOLDS)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed: that is the end
            while True:
                near, _ = listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _HOLDS)
                far.connect((host, port))
                for source, sink, held in ((near, far, None), (far, near, pace)):
                    threading.Thread(target=_pump, args=(source, sink, held), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pump(source: socket.socket, sink: socket.socket, pace: _Pace | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            if pace is not None:
                pace.wait(len(data))
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
