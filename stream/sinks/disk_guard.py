"""Checks the free disk space: when it runs low, clips stop first, then scores, events never.

Any thread may call it; it owns none.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from stream.runtime.metrics import Metrics

_log = logging.getLogger(__name__)
_CHECK_INTERVAL_S = 5.0
_RESUME_FACTOR = 1.1  # hysteresis: writing resumes 10 % above its limit, so it doesn't flap
_ALL, _NO_CLIPS, _NO_SCORES = range(3)


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that holds a folder."""
    return shutil.disk_usage(folder).free


class DiskGuard:
    """Decides whether clips and scores may still be written to a folder.

    Clips stop below `min_free_bytes`, scores below half of it. Both resume 10 % above their limit.
    Counter: `low_disk`, one for each stop.
    """

    def __init__(
        self,
        folder: Path,
        min_free_bytes: int,
        metrics: Metrics,
        *,
        free: Callable[[Path], int] = free_bytes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._min_free_bytes, self._metrics = folder, min_free_bytes, metrics
        self._free, self._now = free, now
        self._lock = threading.Lock()
        self._check_at = now()
        self._level = _ALL

    @property
    def clips_allowed(self) -> bool:
        return self._check() < _NO_CLIPS

    @property
    def scores_allowed(self) -> bool:
        return self._check() < _NO_SCORES

    def set_min_free(self, min_free_bytes: int) -> None:
        """Change the limit; it applies from the next check."""
        with self._lock:
            self._min_free_bytes = min_free_bytes

    def _check(self) -> int:
        with self._lock:
            now = self._now()
            if now >= self._check_at:
                self._check_at = now + _CHECK_INTERVAL_S
                with contextlib.suppress(OSError):  # the next write reports the problem
                    free = self._free(self._folder)
                    self._set_level(self._level_for(free), free)
            return self._level

    def _level_for(self, free: int) -> int:
        if free >= self._limit(_NO_CLIPS):
            return _ALL
        return _NO_CLIPS if free >= self._limit(_NO_SCORES) else _NO_SCORES

    def _limit(self, level: int) -> float:
        """Free bytes below which a level applies."""
        limit = self._min_free_bytes if level == _NO_CLIPS else self._min_free_bytes / 2
        return limit * _RESUME_FACTOR if self._level >= level else limit

    def _set_level(self, level: int, free: int) -> None:
        if level == self._level:
            return
        if level > self._level:
            self._metrics.count("low_disk")
        effects = (
            "clips and scores are written again",
            "no clips are written",
            "no clips and scores are written",
        )
        _log.warning(
            "%.1f GB free in %s, retention.keep_free is %.1f GB: %s",
            free / 1e9,
            self._folder,
            self._min_free_bytes / 1e9,
            effects[level],
        )
        self._level = level
