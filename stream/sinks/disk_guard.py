"""Looks whether the disk is nearly full: clips stop first, then scores, events never.

May be asked from any thread; owns none.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from stream.runtime.metrics import Metrics

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 5.0
_RESUME = 1.1  # times a limit must be free again: what is written must not stop and go by turns
_ALL, _NO_CLIPS, _NO_SCORES = range(3)


def free_bytes(folder: Path) -> int:
    """Of the disk on which a folder is."""
    return shutil.disk_usage(folder).free


class DiskGuard:
    """Says what may still be written into a folder.

    `keep_free_bytes` is what clips leave free; scores leave half of it. What has stopped goes on
    with a tenth more than that. Counter: `low_disk`, each time that something has to stop.
    """

    def __init__(
        self,
        folder: Path,
        keep_free_bytes: int,
        metrics: Metrics,
        *,
        free: Callable[[Path], int] = free_bytes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._keep_free_bytes, self._metrics = folder, keep_free_bytes, metrics
        self._free, self._now = free, now
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._level = _ALL

    @property
    def clips(self) -> bool:
        """Whether clips and snapshots may be written."""
        return self._look() < _NO_CLIPS

    @property
    def scores(self) -> bool:
        """Whether scores may be written."""
        return self._look() < _NO_SCORES

    def keep(self, free_bytes: int) -> None:
        """From the next look on leave so much free."""
        with self._lock:
            self._keep_free_bytes = free_bytes

    def _look(self) -> int:
        with self._lock:
            now = self._now()
            if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at = now
                try:
                    free = self._free(self._folder)
                except OSError:  # who writes will see what is wrong
                    return self._level
                self._set(self._level_of(free), free)
            return self._level

    def _level_of(self, free: int) -> int:
        if free >= self._limit(_NO_CLIPS):
            return _ALL
        return _NO_CLIPS if free >= self._limit(_NO_SCORES) else _NO_SCORES

    def _limit(self, level: int) -> float:
        """Bytes below which a level holds."""
        limit = self._keep_free_bytes if level == _NO_CLIPS else self._keep_free_bytes / 2
        return limit * _RESUME if self._level >= level else limit

    def _set(self, level: int, free: int) -> None:
        if level == self._level:
            return
        if level > self._level:
            self._metrics.count("low_disk")
        stopped = (
            "all is written again",
            "no clips are written",
            "no clips and scores are written",
        )
        _log.warning(
            "%.1f GB free in %s, retention.keep_free is %.1f GB: %s",
            free / 1e9,
            self._folder,
            self._keep_free_bytes / 1e9,
            stopped[level],
        )
        self._level = level
