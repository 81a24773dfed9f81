from __future__ import annotations

from pathlib import Path

import pytest

from stream.runtime.metrics import Metrics
from stream.sinks.disk_guard import DiskGuard, free_bytes
from tests.conftest import Clock

GB = 10**9


class Disk:
    """Its free space, and how often it was looked at."""

    def __init__(self, free: float = 10) -> None:
        self.free, self.looks, self.is_there = free, 0, True

    def __call__(self, _: Path) -> int:
        self.looks += 1
        if not self.is_there:
            raise OSError("gone")
        return round(self.free * GB)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_clips_stop_first_then_scores(
    tmp_path: Path, disk: Disk, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    guard = DiskGuard(tmp_path, 2 * GB, metrics, free=disk, now=clock)
    steps = [
        (10, True, True),
        (2, True, True),
        (1.9, False, True),
        (1, False, True),
        (0.9, False, False),
        (0, False, False),
        (1.5, False, True),
        (3, True, True),
        (0.1, False, False),
    ]
    for free, clips, scores in steps:
        disk.free = free
        clock.seconds += 5
        assert (guard.clips, guard.scores) == (clips, scores), free
    told = [record.message for record in caplog.records]
    assert [text.rpartition(": ")[2] for text in told] == [
        "no clips are written",
        "no clips and scores are written",
        "no clips are written",
        "all is written again",
        "no clips and scores are written",
    ]
    assert "0.9 GB free" in told[1]
    assert "keep_free is 2.0 GB" in told[1]
    assert metrics.total("low_disk") == 3


def test_it_looks_every_five_seconds(tmp_path: Path, disk: Disk, clock: Clock) -> None:
    guard = DiskGuard(tmp_path, 2 * GB, Metrics(), free=disk, now=clock)
    assert guard.clips
    disk.free = 0
    clock.seconds += 4.9
    assert guard.clips
    assert guard.scores
    assert disk.looks == 1
    clock.seconds += 0.1
    assert not guard.clips
    assert disk.looks == 2


def test_a_disk_that_does_not_answer_changes_nothing(
    tmp_path: Path, disk: Disk, clock: Clock
) -> None:
    guard = DiskGuard(tmp_path, 2 * GB, Metrics(), free=disk, now=clock)
    disk.is_there = False
    assert guard.clips
    disk.is_there, disk.free = True, 0
    clock.seconds += 5
    assert not guard.clips
    disk.is_there = False
    clock.seconds += 5
    assert not guard.clips


def test_it_looks_at_the_real_disk(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
    assert DiskGuard(tmp_path, 1, Metrics()).clips
    assert not DiskGuard(tmp_path, 10**18, Metrics()).scores


def test_what_has_stopped_goes_on_with_a_tenth_more_than_its_limit(
    tmp_path: Path, disk: Disk, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    guard = DiskGuard(tmp_path, 2 * GB, metrics, free=disk, now=clock)
    steps = [
        (1.99, False, True),
        (2.01, False, True),
        (1.99, False, True),
        (2.19, False, True),
        (0.99, False, False),
        (1.01, False, False),
        (1.09, False, False),
        (1.11, False, True),
        (1.01, False, True),
        (2.21, True, True),
        (2.01, True, True),
    ]
    for free, clips, scores in steps:
        disk.free = free
        clock.seconds += 5
        assert (guard.clips, guard.scores) == (clips, scores), free
    assert len(caplog.records) == 4
    assert metrics.total("low_disk") == 2
