from __future__ import annotations

import cv2
import pytest

from stream import threads


def threads_of_a_model(clock, first_s: float, then_s: float) -> int:
    passes = iter((first_s, then_s))

    def score_a_clip() -> None:
        clock.seconds += next(passes)

    return threads.threads_for(score_a_clip, now=clock)


def test_a_small_model_keeps_to_one_core_and_a_large_one_takes_all(clock) -> None:
    assert threads_of_a_model(clock, first_s=3.0, then_s=0.005) == 1
    assert threads_of_a_model(clock, first_s=2.0, then_s=2.0) == threads.cores() >= 1


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
