"""What a region is, and the registry of region types: one module of this package each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from stream.config.config import CameraConfig
from stream.messages import ClipSpec, FrameTime
from stream.regions.clip_source import RegionClipSource
from stream.runtime.registry import Registry


class Region(Protocol):
    """Turns a camera's frames into clip sources, which may be added and removed at any time.

    Frames come from one thread; `clip_sources` may be called from any.
    """

    def start_buffering(self, spec: ClipSpec) -> None:
        """Store frames in the model's input format from now on."""

    def accepts(self, time_s: float) -> bool:
        """Whether `add_frame` would use a frame of that time."""

    def add_frame(self, pixels: np.ndarray, moment: FrameTime) -> None:
        """Use an accepted frame of the camera, uint8 RGB (H, W, 3)."""

    def clear(self) -> None:
        """Drop all frames after a gap: no window may span it."""

    def release(self) -> None:
        """Free the memory of all frames."""

    def clip_sources(self) -> Mapping[str, RegionClipSource]:
        """The clip sources by name: the camera's, or "camera/part"."""


RegionType = Callable[[str, CameraConfig], Sequence[Region]]
REGION_TYPES: Registry[RegionType] = Registry("region type", "stream.regions")


def regions_of(camera: str, config: CameraConfig) -> tuple[Region, ...]:
    """The regions of a camera, of all types that its configuration asks for."""
    return tuple(one for make in REGION_TYPES.values() for one in make(camera, config))
