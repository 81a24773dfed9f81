from __future__ import annotations

import numpy as np

from stream.messages import ClipSpec
from stream.regions.frame_ring import FrameRing
from stream.runtime.metrics import Metrics
from stream.scheduling.stream_registry import StreamRegistry
from tests.conftest import Clock
from tests.desk import ClipSource, filled

STRIDE_S = 0.25


def registry_of(clock: Clock, **streams: ClipSource) -> StreamRegistry:
    return StreamRegistry(streams, Metrics(now=clock), stride_s=STRIDE_S, now=clock)


def extend(ring: FrameRing, from_s: float, until_s: float) -> None:
    for time_s in np.arange(from_s, until_s, 0.04):
        ring.append(np.zeros((8, 8, 3), np.uint8), float(time_s), 7.0)


def test_browser_sessions_come_after_cameras_and_alternate(spec: ClipSpec, clock: Clock) -> None:
    registry = registry_of(clock, door=ClipSource(filled(spec, 1.0)))
    for name in ("one", "two"):
        registry.add(name, ClipSource(filled(spec, 1.0)), is_browser_session=True)
    cameras, sessions = registry.due_windows(spec)
    assert [due.stream.name for due in cameras] == ["door"]
    assert [due.stream.name for due in sessions] == ["one", "two"]
    registry.assign(sessions[0])
    clock.seconds += STRIDE_S
    for due in sessions:
        extend(due.ring, 1.0, 1.5)
    assert [due.stream.name for due in registry.due_windows(spec)[1]] == [
        "two",
        "one",
    ]  # longest waiting first


def test_browser_session_with_a_fast_clock_gets_no_more_windows_than_a_camera(
    spec: ClipSpec, clock: Clock
) -> None:
    registry, ring = registry_of(clock), filled(spec, 1.0)
    registry.add("fast", ClipSource(ring), is_browser_session=True)
    assigned = 0
    for step in range(1, 41):  # ten times too fast, for two seconds
        clock.seconds += 0.05
        extend(ring, step + 0.0, step + 1.0)
        if due := registry.due_window("fast", spec):
            registry.assign(due)
            assigned += 1
    assert 2.0 / STRIDE_S - 1 <= assigned <= 2.0 / STRIDE_S + 1


def test_new_stride_applies_at_once(spec: ClipSpec, clock: Clock) -> None:
    ring = filled(spec, 1.7)
    registry = registry_of(clock, door=ClipSource(ring))
    (first,), _ = registry.due_windows(spec)
    registry.assign(first)
    assert first.end_s == 1.5
    registry.set_stride(0.4)
    (second,), _ = registry.due_windows(spec)
    assert second.end_s == 1.6
    assert second.stream is first.stream
