from __future__ import annotations

from pathlib import Path

import pytest

from stream.runtime.metrics import Metrics
from stream.sinks.disk_guard import DiskGuard, free_bytes
from tests.conftest import Clock

GB = 10**9


class Disk:
    """A fake disk: its free space in GB, and the number of checks."""

    def __init__(self, free: float = 10) -> None:
        self.free, self.checks, self.is_mounted = free, 0, True

    def __call__(self, _: Path) -> int:
        self.checks += 1
        if not self.is_mounted:
            raise OSError("not mounted")
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
        assert (guard.clips_allowed, guard.scores_allowed) == (clips, scores), free
    messages = [record.message for record in caplog.records]
    assert [text.rpartition(": ")[2] for text in messages] == [
        "no clips are written",
        "no clips and scores are written",
        "no clips are written",
        "clips and scores are written again",
        "no clips and scores are written",
    ]
    assert "0.9 GB free" in messages[1]
    assert "keep_free is 2.0 GB" in messages[1]
    assert metrics.total("low_disk") == 3


def test_disk_is_checked_every_five_seconds(tmp_path: Path, disk: Disk, clock: Clock) -> None:
    guard = DiskGuard(tmp_path, 2 * GB, Metrics(), free=disk, now=clock)
    assert guard.clips_allowed
    disk.free = 0
    clock.seconds += 4.9
    assert guard.clips_allowed
    assert guard.scores_allowed
    assert disk.checks == 1
    clock.seconds += 0.1
    assert not guard.clips_allowed
    assert disk.checks == 2


def test_failed_check_changes_nothing(tmp_path: Path, disk: Disk, clock: Clock) -> None:
    guard = DiskGuard(tmp_path, 2 * GB, Metrics(), free=disk, now=clock)
    disk.is_mounted = False
    assert guard.clips_allowed
    disk.is_mounted, disk.free = True, 0
    clock.seconds += 5
    assert not guard.clips_allowed
    disk.is_mounted = False
    clock.seconds += 5
    assert not guard.clips_allowed


def test_real_disk_is_checked(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
    assert DiskGuard(tmp_path, 1, Metrics()).clips_allowed
    assert not DiskGuard(tmp_path, 10**18, Metrics()).scores_allowed


def test_writing_resumes_ten_percent_above_its_limit(
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
        assert (guard.clips_allowed, guard.scores_allowed) == (clips, scores), free
    assert len(caplog.records) == 4
    assert metrics.total("low_disk") == 2
