"""A capture in a process of its own, which can be ended whatever it hangs in.

For cameras on which reads hang again and again: a thread that hangs in a driver can't be stopped.
Costs a copy of each picture through a pipe.
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

from stream.runtime.subprocesses import python_command
from stream.sources.opencv_capture import NetworkOptions, open_network, open_webcam

_HEAD = struct.Struct("<dII")  # of each picture: presentation time in ms, height, width
_OPENED = struct.Struct("<?dd")  # whether it is open, number of frames, codec


class IsolatedCapture:
    """Has of cv2.VideoCapture what a live source needs. `source` is an index or an address."""

    def __init__(self, source: int | str, options: NetworkOptions) -> None:
        self._process = subprocess.Popen(
            python_command("stream.sources.subprocess_capture"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C is for us, who then end it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Not as an argument: those can be seen by everybody on the machine.
        with contextlib.suppress(BrokenPipeError):  # it has died: then it is not open
            self._process.stdin.write(json.dumps([source, asdict(options)]).encode() + b"\n")
            self._process.stdin.flush()
        self._out = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._read_timeout_s = options.read_timeout_s
        self._picture: np.ndarray | None = None
        self._properties: dict[int, float] = {}
        # A Python has to start in it, too.
        opened = self._read(_OPENED.size, options.open_timeout_s + 3.0)
        self._open = False
        if opened is not None:
            self._open, frames, codec = _OPENED.unpack(opened)
            self._properties = {cv2.CAP_PROP_FRAME_COUNT: frames, cv2.CAP_PROP_FOURCC: codec}

    def isOpened(self) -> bool:  # noqa: N802 - as OpenCV calls it
        return self._open

    def get(self, property: int) -> float:
        return self._properties.get(property, 0.0)

    def grab(self) -> bool:
        head = self._read(_HEAD.size, self._read_timeout_s)
        if head is None:
            return False
        self._properties[cv2.CAP_PROP_POS_MSEC], height, width = _HEAD.unpack(head)
        pixels = self._read(height * width * 3, self._read_timeout_s)
        if pixels is None:
            return False
        self._picture = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return True

    def retrieve(self) -> tuple[bool, Any]:
        return self._picture is not None and self._picture.size > 0, self._picture

    def release(self) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        self._out.close()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _read(self, size: int, timeout_s: float) -> bytearray | None:
        """So many bytes; None where they don't come in time, or the process has ended."""
        got, deadline = bytearray(), time.monotonic() + timeout_s
        while len(got) < size:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._selector.select(left_s):
                return None
            part = self._out.read(size - len(got))
            if not part:
                return None
            got += part
        return got


def _end_with_parent() -> None:
    """The standard input ends when who started us has gone; a read that hangs does not see that."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """The process: writes pictures to its standard output until that is closed."""
    source, options = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if isinstance(source, int):
        capture = open_webcam(source)
    else:
        capture = open_network(source, NetworkOptions(**options))
    out = sys.stdout.buffer
    frames, codec = (capture.get(one) for one in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FOURCC))
    out.write(_OPENED.pack(capture.isOpened(), frames, codec))
    out.flush()
    while capture.grab():
        presented_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        decoded, picture = capture.retrieve()
        height, width = picture.shape[:2] if decoded else (0, 0)
        out.write(_HEAD.pack(presented_ms, height, width))
        if decoded:
            out.write(picture.tobytes())
        out.flush()
