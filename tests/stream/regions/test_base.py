from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from stream.capture.camera import Camera
from stream.config.config import CameraConfig
from stream.messages import ClipSpec, FrameTime
from stream.regions.base import REGION_TYPES, Region, regions_of
from stream.regions.clip_source import RegionClipSource
from stream.regions.zone import Zone
from stream.runtime.metrics import Metrics


def test_camera_without_zones_is_one_clip_source_of_its_name() -> None:
    camera = Camera("door", CameraConfig(source="demo:"), Metrics())
    assert [stream.name for stream in camera.streams] == ["door"]


def test_zones_replace_the_whole_frame_and_are_letterboxed(spec: ClipSpec) -> None:
    config = CameraConfig.model_validate(
        {"source": "demo:", "zones": {"gate": {"points": [[0, 0], [1, 0.25]]}}}
    )
    (region,) = regions_of("yard", config)
    region.start_buffering(spec)
    region.add_frame(np.full((64, 64, 3), 200, np.uint8), FrameTime(0.0, 0.0))
    source = region.clip_sources()["yard/gate"]
    assert source.ring is not None
    frames, _, _ = source.ring.window(np.array([0.0]))
    assert (frames[0, 0] == 115).all()  # a border above the wide zone
    assert (frames[0, 4] > 190).all()


def corners(camera: str, config: CameraConfig) -> Sequence[Region]:
    """A region type from outside: the upper left quarter of every frame."""
    return [RegionClipSource(f"{camera}/corner", zone=Zone([(0, 0), (0.5, 0.5)]))]


@pytest.fixture
def corner_regions() -> Iterator[None]:
    REGION_TYPES.add("corners", corners)
    yield
    REGION_TYPES.remove("corners")


@pytest.mark.usefixtures("corner_regions")
def test_region_type_is_added_by_registration_alone() -> None:
    camera = Camera("door", CameraConfig(source="demo:"), Metrics())
    assert {stream.name for stream in camera.streams} == {"door", "door/corner"}
