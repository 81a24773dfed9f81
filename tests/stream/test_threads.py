from __future__ import annotations

import cv2
import pytest

from stream import threads


def test_a_small_model_keeps_to_one_core_and_a_large_one_takes_all() -> None:
    assert threads.for_inference(0.005) == 1
    assert threads.for_inference(2.0) == threads.cores() >= 1


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
