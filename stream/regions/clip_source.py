"""The clip source of a region: a whole camera frame or one zone, with its own frame ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stream.config.config import MotionGateConfig
from stream.messages import ClipSpec, FrameTime
from stream.regions.frame_ring import FrameRing
from stream.regions.motion_gate import MotionGate
from stream.regions.resize import fit_frame
from stream.regions.zone import Zone


class RegionClipSource:
    """A region with one clip source: itself. `name` is the camera's, or "camera/zone".

    `fit` says how a frame is fitted to the model's input size; None: as the model was trained.
    """

    def __init__(
        self,
        name: str,
        *,
        fit: str | None = None,
        zone: Zone | None = None,
        motion_gate: MotionGateConfig | None = None,
    ) -> None:
        self.name = name
        self.zone = zone
        self._fit = fit
        self.ring: FrameRing | None = None  # created when the model's input format is known
        self._gate = MotionGate(motion_gate) if motion_gate is not None else None
        self._spec: ClipSpec | None = None

    def start_buffering(self, spec: ClipSpec) -> None:
        self._spec = spec = replace(spec, fit=self._fit or spec.fit)
        self.ring = FrameRing(spec)

    def accepts(self, time_s: float) -> bool:
        ring = self.ring  # another thread may release it
        return ring is not None and ring.accepts(time_s)

    def add_frame(self, pixels: np.ndarray, moment: FrameTime) -> None:
        if self.ring is None or self._spec is None:
            return
        region = pixels if self.zone is None else self.zone.crop(pixels)
        fitted = fit_frame(region, self._spec)
        if self._gate is not None:
            self._gate.update(fitted, moment.time_s)
        self.ring.append(fitted, moment.time_s, moment.seen_at)

    def clear(self) -> None:
        if self.ring is not None:
            self.ring.clear()

    def release(self) -> None:
        self.ring = None

    def clip_sources(self) -> Mapping[str, RegionClipSource]:
        return {self.name: self}

    def is_gated(self, start_s: float, end_s: float) -> bool:
        """Whether the motion gate skips the window."""
        return self._gate is not None and not self._gate.should_score(start_s, end_s)

    def mark_scored(self, end_s: float) -> None:
        """The window that ends at `end_s` is sent to the model."""
        if self._gate is not None:
            self._gate.mark_scored(end_s)


def camera_of(stream: str) -> str:
    """The name of the camera that a stream belongs to."""
    return stream.partition("/")[0]
