"""The region types of a camera: its zones, or the whole frame if it has none."""

from __future__ import annotations

from collections.abc import Sequence

from stream.config.config import CameraConfig
from stream.regions.base import REGION_TYPES, Region
from stream.regions.clip_source import RegionClipSource
from stream.regions.zone import Zone


@REGION_TYPES.register("whole_frame")
def whole_frame(camera: str, config: CameraConfig) -> Sequence[Region]:
    if config.zones:
        return ()
    return (RegionClipSource(camera, fit=config.fit, motion_gate=config.motion_gate),)


@REGION_TYPES.register("zones")
def zones(camera: str, config: CameraConfig) -> Sequence[Region]:
    return [
        RegionClipSource(
            f"{camera}/{name}",
            fit=config.fit or "letterbox",  # a zone is used as a whole, whatever its shape
            zone=Zone(zone.points, mask=zone.mask),
            motion_gate=config.motion_gate,
        )
        for name, zone in config.zones.items()
    ]
