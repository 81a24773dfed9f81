from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from stream.runtime import thread_limits as threads


def is_large(clock, *passes_s: float) -> bool:
    passes = iter(passes_s)

    def score_a_clip() -> None:
        clock.seconds += next(passes)

    return threads.is_large(score_a_clip, now=clock)


def test_a_model_is_large_if_even_its_fastest_pass_takes_long(clock) -> None:
    assert not is_large(clock, 3.0, 0.5, 0.005, 0.005)
    assert is_large(clock, 0.005, 2.0, 2.0, 2.0)  # the first pass does not count
    assert threads.cores() >= 1


@pytest.mark.parametrize(
    ("written", "cores"), [("max 100000", 10**6), ("150000 100000", 2), ("1000 100000", 1)]
)
def test_a_container_may_have_fewer_cores(tmp_path: Path, written: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    assert threads._quota(file) == 10**6
    file.write_text(f"{written}\n")
    assert threads._quota(file) == cores


def test_opencv_takes_no_threads_beside_those_of_the_cameras() -> None:
    before = cv2.getNumThreads()
    try:
        threads.for_capture()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_a_worker_does_not_spin_unless_its_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    environment = threads.worker_environment()
    assert environment["GOMP_SPINCOUNT"] == "10000"
    assert environment["KMP_BLOCKTIME"] == "200"


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    there_are = threads.cores()
    assert "OMP_NUM_THREADS" not in threads.worker_environment()
    assert threads.worker_environment(2)["OMP_NUM_THREADS"] == str(max(1, there_are // 2))
    assert threads.worker_environment(1000)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.cores() == 1
    for nothing in ("0", "many", "1000"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert threads.cores() == there_are
