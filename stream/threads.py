"""How many threads each part of a watch may use: the one place that decides.

Capture and inference share the cores. Numeric libraries start a thread for each core and let it
spin while it waits for the others; where cores are busy elsewhere, all then wait for the spinner.
"""

from __future__ import annotations

import os

# Measured on two cores: a model of 6 ms a clip gains 3 ms from the second core, but costs the watch
# half as much processor time again, and its slowest windows take twice as long.
_SMALL_S = 0.02


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_inference(clip_s: float) -> int:
    """Threads for a model that takes `clip_s` seconds for a clip on one core."""
    return 1 if clip_s <= _SMALL_S else cores()


def for_capture() -> None:
    """Settle OpenCV in this process: each camera has a thread of its own, and that is enough."""
    import cv2

    cv2.setNumThreads(1)


def worker_environment() -> dict[str, str]:
    """The environment of a worker: its threads wait without spinning for long.

    Of the OpenMP libraries of GNU (in torch) and of Intel and LLVM; read once, when they load. With
    the processor to itself a worker loses 2 % by it; beside a busy process it is 2.5 times faster.
    """
    return {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1", **os.environ}
