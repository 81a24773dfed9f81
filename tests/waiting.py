"""Waiting for other threads and processes, with an end to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_for(reached: Callable[[], bool], *, within_s: float = 60.0) -> float:
    """Until something has come true; how long that took, in seconds."""
    pause, began = threading.Event(), time.monotonic()
    while not reached():
        assert time.monotonic() - began < within_s, f"not within {within_s} s"
        pause.wait(0.02)
    return time.monotonic() - began
