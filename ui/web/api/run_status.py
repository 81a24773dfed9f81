"""How a run is doing: what /healthz, /metrics and the page's Health tab all read.

May be asked from any thread.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream.capture.camera import ENDED, LIVE, Camera
from stream.pipeline import Pipeline

_FOLDERS = ("clips", "snapshots", "scores")
_WEIGH_EVERY_S = 60.0  # there may be very many files
_PACKAGES = ("actionwatch", "torch", "openvino", "opencv-python", "numpy", "gradio")


@dataclass(frozen=True, slots=True)
class CameraCondition:
    """A camera, as it is now."""

    name: str
    state: str
    reason: str
    for_s: float  # in that state, or with that fault
    frames_per_s: float
    predictions_per_s: float
    wanted_per_s: float  # predictions, of all of its zones; 0 where that depends on motion
    ages_s: dict[str, float]  # of the newest prediction, by zone
    counts: dict[str, int]  # of what was dropped and what went wrong, and of frames and the like

    @property
    def well(self) -> bool:
        return self.state in (LIVE, ENDED)


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the data folder, in bytes."""

    free: int
    size: int
    keep_free: int  # with less no clips are written
    used: dict[str, int]  # by clips, snapshots and scores


@dataclass(frozen=True, slots=True)
class Stage:
    """How long a stage of the work took of late, in seconds."""

    p50_s: float
    p95_s: float


class Condition:
    """Asks a pipeline how it is doing."""

    def __init__(self, pipeline: Pipeline, *, now: Callable[[], float] = time.monotonic) -> None:
        self.pipeline = pipeline
        self._now = now
        self._began_at = now()
        self._lock = threading.Lock()
        self._weighed: tuple[float, dict[str, int]] | None = None  # when, and what was found

    @property
    def up_s(self) -> float:
        """Since the dashboard came up, some seconds after the watch."""
        return self._now() - self._began_at

    def cameras(self) -> list[CameraCondition]:
        """All of them, in the order of the configuration."""
        return [self._camera(camera) for camera in list(self.pipeline.cameras.values())]

    def stages(self) -> dict[str, Stage]:
        """The stages of the work that were measured, `age` of predictions among them."""
        metrics, found = self.pipeline.metrics, {}
        for stage in metrics.measured():
            taken = metrics.percentiles(stage, not_older_than_s=1.0)
            if taken.p50 is not None and taken.p95 is not None:
                found[stage] = Stage(taken.p50, taken.p95)
        return found

    def disk(self) -> Disk | None:
        """None where nobody can tell."""
        config = self.pipeline.config
        try:
            usage = shutil.disk_usage(config.data)
        except OSError:
            return None
        return Disk(usage.free, usage.total, config.retention.keep_free, self._used(config.data))

    def _camera(self, camera: Camera) -> CameraCondition:
        metrics, now = self.pipeline.metrics, self._now()
        views, config = self.pipeline.views(camera.name), self.pipeline.config
        settings = config.cameras.get(camera.name)
        is_gated = settings is None or settings.motion_gate is not None
        return CameraCondition(
            name=camera.name,
            state=camera.state,
            reason=camera.reason or camera.fault,
            for_s=max(0.0, now - camera.since_at),
            frames_per_s=metrics.rate("frames", camera.name),
            predictions_per_s=metrics.rate("windows", camera.name),
            wanted_per_s=0.0 if is_gated else len(camera.streams) / config.window.stride,
            ages_s={
                zone: now - view.prediction.newest_at
                for zone, view in views.items()
                if view.prediction is not None
            },
            counts=metrics.totals(camera.name),
        )

    def _used(self, data: Path) -> dict[str, int]:
        with self._lock:  # one looks, others wait and take what it found
            now = self._now()
            if self._weighed is None or now - self._weighed[0] > _WEIGH_EVERY_S:
                self._weighed = (now, {name: _bytes(data / name) for name in _FOLDERS})
            return self._weighed[1]


def versions() -> dict[str, str]:
    """Of what runs here, by package; nothing is loaded for it."""
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
        except OSError:  # removed in this moment
            continue
    return total
