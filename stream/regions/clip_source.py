"""What windows are cut from: a camera's pictures, or those of one of its zones."""

from __future__ import annotations

import numpy as np

from stream.messages import ClipSpec, Moment
from stream.regions.frame_ring import FrameRing
from stream.regions.motion_gate import MotionGate
from stream.regions.resize import fit_picture
from stream.regions.zone import Zone


class ClipStream:
    """One stream of clips. `name` is the camera's, or "camera/zone"."""

    def __init__(
        self, name: str, *, zone: Zone | None = None, gate: MotionGate | None = None
    ) -> None:
        self.name = name
        self.zone = zone
        self.ring: FrameRing | None = None  # from when the model's wishes are known
        self._gate = gate
        self._spec: ClipSpec | None = None

    def watch(self, spec: ClipSpec) -> None:
        self._spec, self.ring = spec, FrameRing(spec)

    def wants(self, time_s: float) -> bool:
        """Whether a picture of that time is of use."""
        ring = self.ring  # which may be let go meanwhile
        return ring is not None and ring.wants(time_s)

    def take(self, pixels: np.ndarray, moment: Moment) -> None:
        """A picture of the camera, uint8 RGB (H, W, 3), that it wants."""
        if self.ring is None or self._spec is None:
            return
        part = pixels if self.zone is None else self.zone.cut(pixels)
        fitted = fit_picture(part, self._spec)
        if self._gate is not None:
            self._gate.see(fitted, moment.time_s)
        self.ring.append(fitted, moment.time_s, moment.seen_at)

    def clear(self) -> None:
        """After a gap: no window may span it."""
        if self.ring is not None:
            self.ring.clear()

    def is_still(self, start_s: float, end_s: float) -> bool:
        """Whether the model may be spared the window."""
        return self._gate is not None and not self._gate.opens(start_s, end_s)

    def looked(self, end_s: float) -> None:
        """The model is given the window that ends there."""
        if self._gate is not None:
            self._gate.looked(end_s)


def camera_of(stream: str) -> str:
    """The name of the camera that a stream belongs to."""
    return stream.partition("/")[0]
