"""How many threads each part of a watch may use: the one place that decides.

Capture and inference share the cores. Numeric libraries start a thread for each core and let it
spin while it waits for the others; where cores are busy elsewhere, all then wait for the spinner.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

# Measured on two cores: a model of 6 ms a clip gains 3 ms from the second core, but costs the watch
# half as much processor time again, and its slowest windows take twice as long.
_SMALL_S = 0.02


# Of GNU's OpenMP library, and of those of Intel and LLVM.
_SPIN_BRIEFLY = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}


def cores() -> int:
    """The processor cores that this process may use; OMP_NUM_THREADS may say fewer."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    there_are = all_cores()
    return min(there_are, int(wanted)) if wanted.isdigit() and int(wanted) else there_are


def all_cores() -> int:
    """The same, whatever OMP_NUM_THREADS says: for processes, not for threads of libraries."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


def _quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that a container is given, as `docker run --cpus` does; many where it is not."""
    try:
        quota, period = file.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroups, or "max"
        return 1_000_000


def is_large(
    score_a_clip: Callable[[], object], *, now: Callable[[], float] = time.perf_counter
) -> bool:
    """Whether a model takes so long for a clip on one core that it is to have them all."""
    score_a_clip()  # the first pass sets things up
    times = []
    for _ in range(3):  # other programs can only make it slower
        began = now()
        score_a_clip()
        times.append(now() - began)
    return min(times) > _SMALL_S


def for_capture() -> None:
    """Settle OpenCV in this process: each camera has a thread of its own, and that is enough."""
    import cv2

    cv2.setNumThreads(1)


def spin_briefly() -> None:
    """Settle OpenMP in this process, as `worker_environment` does; before torch is imported."""
    for key, value in _SPIN_BRIEFLY.items():
        os.environ.setdefault(key, value)


def worker_environment(workers: int = 1) -> dict[str, str]:
    """The environment of a worker: its share of the cores, and threads that don't spin for long.

    The spinning is of the OpenMP libraries of GNU (in torch) and of Intel and LLVM; read once, when
    they load. With the processor to itself a worker loses 2 % by it; beside a busy process it is
    2.5 times faster.
    """
    settled = dict(_SPIN_BRIEFLY)
    if workers > 1:
        settled["OMP_NUM_THREADS"] = str(max(1, cores() // workers))
    return {**settled, **os.environ}
