"""This process and its subprocesses: cores, threads of numeric libraries, memory, command lines.

Capture and inference share the cores. Numeric libraries start one thread per core, and each spins
while it waits for the other threads; on a busy machine all threads then wait for the spinning one.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Measured on two cores: a model of 6 ms per clip gains 3 ms from the second core, but the run needs
# 1.5 times the processor time, and its slowest windows need twice as long.
_SMALL_MODEL_S = 0.02

_M_ARENA_MAX = -8  # of glibc's <malloc.h>
_ARENAS = 2

# Of the OpenMP libraries of GNU, and of Intel and LLVM.
_SHORT_SPIN = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}


def cores() -> int:
    """The number of cores that this process may use, limited by OMP_NUM_THREADS."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    available = all_cores()
    return min(available, int(limit)) if limit.isdigit() and int(limit) else available


def all_cores() -> int:
    """The number of cores regardless of OMP_NUM_THREADS: for processes, not library threads."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


def _quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores of a container limited by `docker run --cpus`; a huge number without a limit."""
    try:
        quota, period = file.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroups, or "max"
        return 1_000_000


def needs_all_cores(
    score_a_clip: Callable[[], object], *, now: Callable[[], float] = time.perf_counter
) -> bool:
    """Whether a model is too slow on one core, so that it should use all cores."""
    score_a_clip()  # warm-up
    durations = []
    for _ in range(3):  # the fastest run counts: other programs only slow it down
        started_at = now()
        score_a_clip()
        durations.append(now() - started_at)
    return min(durations) > _SMALL_MODEL_S


def limit_opencv_threads() -> None:
    """Let OpenCV use one thread per call: each camera has a thread of its own."""
    import cv2

    cv2.setNumThreads(1)


def limit_malloc_arenas() -> None:
    """Let all threads of this process allocate from two arenas. Call it before they start.

    glibc gives each thread an arena of its own, up to eight per core, and an arena never shrinks
    below its peak: 70 visits of the page left 90 MB unused in a run, but 6 MB with two arenas.
    Does nothing with another C library.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def limit_openmp_spin() -> None:
    """Shorten OpenMP spinning in this process. Call it before torch is imported."""
    for key, value in _SHORT_SPIN.items():
        os.environ.setdefault(key, value)


def worker_environment(workers: int = 1) -> dict[str, str]:
    """The environment of a worker: its fraction of the cores, and a short OpenMP spin.

    OpenMP libraries (GNU's in torch, Intel's and LLVM's) read it when they load. A short spin makes
    a worker 2 % slower on an idle machine, and 2.5 times faster beside a busy process.
    """
    limits = dict(_SHORT_SPIN)
    if workers > 1:
        limits["OMP_NUM_THREADS"] = str(max(1, cores() // workers))
    return {**limits, **os.environ}


def module_command(module: str, function: str = "main") -> list[str]:
    """Run a module's function in this Python; its return value is the exit code."""
    # `-m` would import modules from the current folder first.
    packages = str(Path(__file__).parents[2])
    start = f"import sys; sys.path[0] = {packages!r}; import {module}; "
    return [sys.executable, "-c", f"{start}sys.exit({module}.{function}())"]
