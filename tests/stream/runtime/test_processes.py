from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from stream.runtime import processes

# Sixteen threads that own memory at the same time; prints malloc's statistics.
_COUNT = """
import ctypes, sys, threading
from stream.runtime.processes import limit_malloc_arenas
if sys.argv[1] == "shared":
    limit_malloc_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_allocated = threading.Barrier(16)
def allocate():
    libc.malloc(1000)
    all_allocated.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
"""


def needs_all_cores(clock, *passes_s: float) -> bool:
    passes = iter(passes_s)

    def score_a_clip() -> None:
        clock.seconds += next(passes)

    return processes.needs_all_cores(score_a_clip, now=clock)


def test_model_needs_all_cores_if_its_fastest_pass_is_slow(clock) -> None:
    assert not needs_all_cores(clock, 3.0, 0.5, 0.005, 0.005)
    assert needs_all_cores(clock, 0.005, 2.0, 2.0, 2.0)  # the warm-up does not count
    assert processes.cores() >= 1


@pytest.mark.parametrize(
    ("written", "cores"), [("max 100000", 10**6), ("150000 100000", 2), ("1000 100000", 1)]
)
def test_container_may_have_fewer_cores(tmp_path: Path, written: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    assert processes._quota(file) == 10**6
    file.write_text(f"{written}\n")
    assert processes._quota(file) == cores


def test_opencv_uses_one_thread() -> None:
    before = cv2.getNumThreads()
    try:
        processes.limit_opencv_threads()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_worker_spins_briefly_unless_configured_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    environment = processes.worker_environment()
    assert environment["GOMP_SPINCOUNT"] == "10000"
    assert environment["KMP_BLOCKTIME"] == "200"


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    available = processes.cores()
    assert "OMP_NUM_THREADS" not in processes.worker_environment()
    assert processes.worker_environment(2)["OMP_NUM_THREADS"] == str(max(1, available // 2))
    assert processes.worker_environment(1000)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert processes.cores() == 1
    for ignored in ("0", "many", "1000"):
        monkeypatch.setenv("OMP_NUM_THREADS", ignored)
        assert processes.cores() == available


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_two_arenas() -> None:
    def arenas(mode: str) -> int:
        process = subprocess.run(
            [sys.executable, "-c", _COUNT, mode],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        return process.stdout.count("<heap nr=")

    assert arenas("default") > 2
    assert arenas("shared") == 2
