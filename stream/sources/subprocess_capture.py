"""A capture in a process of its own, which can be killed whatever it hangs in.

For cameras with reads that hang repeatedly: a thread that hangs in a driver can't be stopped.
Each frame is copied through a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np

from stream.runtime.processes import module_command
from stream.sources.base import NetworkOptions
from stream.sources.opencv_capture import open_live

_HEADER = struct.Struct("<dII")  # of each frame: presentation time in ms, height, width
_OPENED = struct.Struct("<?dd")  # whether it is open, number of frames, codec
_PYTHON_START_S = 3.0


class SubprocessCapture:
    """The part of cv2.VideoCapture that a live source needs. `source` is an index or address."""

    def __init__(self, source: int | str, options: NetworkOptions) -> None:
        self._process = subprocess.Popen(
            module_command("stream.sources.subprocess_capture"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # a select sees nothing of bytes that a buffer holds
            start_new_session=True,  # Ctrl+C reaches only the parent, which then ends this process
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Not as an argument: every user of the machine can read those.
        with contextlib.suppress(BrokenPipeError):  # it crashed: then it is not open
            self._process.stdin.write(json.dumps([source, asdict(options)]).encode() + b"\n")
            self._process.stdin.flush()
        self._out = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._read_timeout_s = options.read_timeout_s
        self._frame: np.ndarray | None = None
        self._properties: dict[int, float] = {}
        opened = self._read(_OPENED.size, options.open_timeout_s + _PYTHON_START_S)
        self._open = False
        if opened is not None:
            self._open, frames, codec = _OPENED.unpack(opened)
            self._properties = {cv2.CAP_PROP_FRAME_COUNT: frames, cv2.CAP_PROP_FOURCC: codec}

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._open

    def get(self, property: int) -> float:
        return self._properties.get(property, 0.0)

    def grab(self) -> bool:
        header = self._read(_HEADER.size, self._read_timeout_s)
        if header is None:
            return False
        self._properties[cv2.CAP_PROP_POS_MSEC], height, width = _HEADER.unpack(header)
        pixels = self._read(height * width * 3, self._read_timeout_s)
        if pixels is None:
            return False
        self._frame = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return True

    def retrieve(self) -> tuple[bool, Any]:
        return self._frame is not None and self._frame.size > 0, self._frame

    def release(self) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        self._out.close()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _read(self, size: int, timeout_s: float) -> bytearray | None:
        """Read `size` bytes; None if they don't arrive in time, or the process has ended."""
        received, deadline = bytearray(), time.monotonic() + timeout_s
        while len(received) < size:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._selector.select(left_s):
                return None
            part = self._out.read(size - len(received))
            if not part:
                return None
            received += part
        return received


def _exit_with_parent() -> None:
    """Exit when stdin closes because the parent ended: a hung read does not notice that."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """The process: writes frames to its standard output until that is closed."""
    source, options = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    capture = open_live(source, NetworkOptions(**options))
    out = sys.stdout.buffer
    frames, codec = (capture.get(one) for one in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FOURCC))
    out.write(_OPENED.pack(capture.isOpened(), frames, codec))
    out.flush()
    while capture.grab():
        presented_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        decoded, frame = capture.retrieve()
        height, width = frame.shape[:2] if decoded else (0, 0)
        out.write(_HEADER.pack(presented_ms, height, width))
        if decoded:
            out.write(frame.tobytes())
        out.flush()
