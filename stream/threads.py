"""How many threads each part of a watch may use: the one place that decides.

Capture and inference share the cores. Numeric libraries start a thread for each core and let it
spin while it waits for the others; where cores are busy elsewhere, all then wait for the spinner.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# Measured on two cores: a model of 6 ms a clip gains 3 ms from the second core, but costs the watch
# half as much processor time again, and its slowest windows take twice as long.
_SMALL_S = 0.02


def cores() -> int:
    """The processor cores that this process may use; OMP_NUM_THREADS may say fewer."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        there_are = len(os.sched_getaffinity(0))
    else:
        there_are = os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(there_are, int(wanted)) if wanted.isdigit() and int(wanted) else there_are


def threads_for(
    score_a_clip: Callable[[], object], *, now: Callable[[], float] = time.perf_counter
) -> int:
    """Threads for a model, by how long it takes for a clip on one core: it is tried."""
    score_a_clip()  # the first pass sets things up
    began = now()
    score_a_clip()
    return 1 if now() - began <= _SMALL_S else cores()


def for_capture() -> None:
    """Settle OpenCV in this process: each camera has a thread of its own, and that is enough."""
    import cv2

    cv2.setNumThreads(1)


def worker_environment(workers: int = 1) -> dict[str, str]:
    """The environment of a worker: its share of the cores, and threads that don't spin for long.

    The spinning is of the OpenMP libraries of GNU (in torch) and of Intel and LLVM; read once, when
    they load. With the processor to itself a worker loses 2 % by it; beside a busy process it is
    2.5 times faster.
    """
    settled = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
    if workers > 1:
        settled["OMP_NUM_THREADS"] = str(max(1, cores() // workers))
    return {**settled, **os.environ}
