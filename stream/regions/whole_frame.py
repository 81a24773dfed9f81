"""Region type: the whole frame of a camera that has no zones."""

from __future__ import annotations

from collections.abc import Sequence

from stream.config.config import CameraConfig
from stream.regions.base import REGION_TYPES, Region
from stream.regions.clip_source import RegionClipSource
from stream.regions.motion_gate import make_gate


@REGION_TYPES.register("whole_frame")
def whole_frame(camera: str, config: CameraConfig) -> Sequence[Region]:
    if config.zones:
        return ()
    return (RegionClipSource(camera, fit=config.fit, gate=make_gate(config.motion_gate)),)
