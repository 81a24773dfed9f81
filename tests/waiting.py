"""Wait for other threads and processes, with a timeout."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_for(reached: Callable[[], bool], *, timeout_s: float = 180.0) -> float:
    """Wait until `reached` returns True. Returns the elapsed seconds."""
    pause, started_at = threading.Event(), time.monotonic()
    while not reached():
        assert time.monotonic() - started_at < timeout_s, f"not reached within {timeout_s} s"
        pause.wait(0.02)
    return time.monotonic() - started_at
