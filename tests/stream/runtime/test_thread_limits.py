from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from stream.runtime import thread_limits as threads


def needs_all_cores(clock, *passes_s: float) -> bool:
    passes = iter(passes_s)

    def score_a_clip() -> None:
        clock.seconds += next(passes)

    return threads.needs_all_cores(score_a_clip, now=clock)


def test_model_needs_all_cores_if_its_fastest_pass_is_slow(clock) -> None:
    assert not needs_all_cores(clock, 3.0, 0.5, 0.005, 0.005)
    assert needs_all_cores(clock, 0.005, 2.0, 2.0, 2.0)  # the warm-up does not count
    assert threads.cores() >= 1


@pytest.mark.parametrize(
    ("written", "cores"), [("max 100000", 10**6), ("150000 100000", 2), ("1000 100000", 1)]
)
def test_container_may_have_fewer_cores(tmp_path: Path, written: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    assert threads._quota(file) == 10**6
    file.write_text(f"{written}\n")
    assert threads._quota(file) == cores


def test_opencv_uses_one_thread() -> None:
    before = cv2.getNumThreads()
    try:
        threads.limit_opencv_threads()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_worker_spins_briefly_unless_configured_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    environment = threads.worker_environment()
    assert environment["GOMP_SPINCOUNT"] == "10000"
    assert environment["KMP_BLOCKTIME"] == "200"


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    available = threads.cores()
    assert "OMP_NUM_THREADS" not in threads.worker_environment()
    assert threads.worker_environment(2)["OMP_NUM_THREADS"] == str(max(1, available // 2))
    assert threads.worker_environment(1000)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.cores() == 1
    for ignored in ("0", "many", "1000"):
        monkeypatch.setenv("OMP_NUM_THREADS", ignored)
        assert threads.cores() == available
