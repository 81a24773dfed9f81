"""The status of a run, as read by /healthz, /metrics and the Health tab.

Thread-safe.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pydantic import BaseModel

from stream.capture.camera import ENDED, LIVE, Camera
from stream.pipeline import Pipeline
from stream.sinks.event_log.rows import iso

STATES = {  # of cameras
    "connecting": "is connecting",
    "live": "is live",
    "stalled": "is stalled",
    "offline": "is offline",
    "ended": "has ended",
    "failed": "has failed",
}
_FOLDERS = ("clips", "snapshots", "scores")
_USAGE_INTERVAL_S = 60.0  # the folders may hold very many files
_HUNG_AFTER_S = 10.0
_PACKAGES = ("actionwatch", "torch", "openvino", "opencv-python", "numpy", "gradio")


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """The current status of a camera."""

    name: str
    state: str
    reason: str
    state_s: float  # seconds in this state, or with this fault
    frames_per_s: float
    predictions_per_s: float
    target_predictions_per_s: float  # over all zones; 0 with a motion gate
    ages_s: dict[str, float]  # age of the newest prediction, by zone
    counters: dict[str, int]

    @property
    def healthy(self) -> bool:
        return self.state in (LIVE, ENDED)


class DiskHealth(BaseModel):
    """The disk of the data folder, in bytes."""

    free: int
    total: int
    keep_free: int  # below this, no clips are recorded
    used: dict[str, int]  # by clips, snapshots and scores


class StageHealth(BaseModel):
    """Recent latency of a pipeline stage."""

    name: str
    p50_s: float
    p95_s: float


class RunStatus:
    """Reads the status of a pipeline."""

    def __init__(self, pipeline: Pipeline, *, now: Callable[[], float] = time.monotonic) -> None:
        self.pipeline = pipeline
        self._now = now
        self._started_at = now()
        self._lock = threading.Lock()
        self._usage: tuple[float, dict[str, int]] | None = None  # measured at, bytes by folder

    @property
    def uptime_s(self) -> float:
        """Since the dashboard started, some seconds after the run."""
        return self._now() - self._started_at

    def cameras(self) -> list[CameraStatus]:
        """All cameras, in the order of the configuration."""
        return [self._camera(camera) for camera in list(self.pipeline.cameras.values())]

    def stages(self) -> list[StageHealth]:
        """Latency of the measured stages, including `age`: the age of predictions."""
        metrics, stages = self.pipeline.metrics, []
        for name in metrics.measured():
            recent = metrics.percentiles(name, max_age_s=1.0)
            if recent.p50 is not None and recent.p95 is not None:
                stages.append(StageHealth(name=name, p50_s=recent.p50, p95_s=recent.p95))
        return stages

    def disk(self) -> DiskHealth | None:
        """None if the disk can't be read."""
        config = self.pipeline.config
        try:
            usage = shutil.disk_usage(config.data)
        except OSError:
            return None
        return DiskHealth(
            free=usage.free,
            total=usage.total,
            keep_free=config.retention.keep_free,
            used=self._used(config.data),
        )

    def hung_threads(self) -> list[str]:
        """The names of the run's threads without a sign of life for 10 s."""
        alive_at = {
            "scheduler": self.pipeline.scheduler.alive_at,
            "event processor": self.pipeline.processor.alive_at,
        }
        since = self._now() - _HUNG_AFTER_S
        return [name for name, at in alive_at.items() if at < since]

    def queues(self) -> dict[str, int]:
        """Queue lengths by name."""
        return {
            "clips": self.pipeline.scheduler.in_flight,
            "predictions": self.pipeline.processor.queued,
            **self.pipeline.sinks.queues,
        }

    def _camera(self, camera: Camera) -> CameraStatus:
        metrics, now = self.pipeline.metrics, self._now()
        views, config = self.pipeline.processor.views(camera.name), self.pipeline.config
        settings = config.cameras.get(camera.name)
        is_gated = settings is None or settings.motion_gate is not None
        return CameraStatus(
            name=camera.name,
            state=camera.state,
            reason=camera.reason or camera.fault,
            state_s=max(0.0, now - camera.since_at),
            frames_per_s=metrics.rate("frames", camera.name),
            predictions_per_s=metrics.rate("windows", camera.name),
            target_predictions_per_s=(
                0.0 if is_gated else len(camera.streams) / config.window.stride
            ),
            ages_s={
                zone: now - view.prediction.newest_at
                for zone, view in views.items()
                if view.prediction is not None
            },
            counters=metrics.totals(camera.name),
        )

    def _used(self, data: Path) -> dict[str, int]:
        with self._lock:  # one thread measures, the others wait for its result
            now = self._now()
            if self._usage is None or now - self._usage[0] > _USAGE_INTERVAL_S:
                self._usage = (now, {name: _bytes(data / name) for name in _FOLDERS})
            return self._usage[1]


def utc_ago(seconds: float) -> str:
    """The time some seconds ago, UTC in ISO 8601."""
    return iso(datetime.now(timezone.utc) - timedelta(seconds=seconds))


def versions() -> dict[str, str]:
    """Installed versions by package; imports none of them."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            if file.is_file():
                total += file.stat().st_size
        except OSError:  # removed meanwhile
            continue
    return total
