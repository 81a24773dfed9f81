from __future__ import annotations

import numpy as np

from stream.messages import ClipSpec
from stream.regions.frame_ring import FrameRing
from stream.runtime.metrics import Metrics
from stream.scheduling.stream_registry import Turns
from tests.conftest import Clock
from tests.desk import Watched, filled

STRIDE_S = 0.25


def turns(clock: Clock, **streams: Watched) -> Turns:
    return Turns(streams, Metrics(now=clock), stride_s=STRIDE_S, now=clock)


def extend(ring: FrameRing, from_s: float, until_s: float) -> None:
    for time_s in np.arange(from_s, until_s, 0.04):
        ring.append(np.zeros((8, 8, 3), np.uint8), float(time_s), 7.0)


def test_guests_come_after_cameras_and_take_turns(spec: ClipSpec, clock: Clock) -> None:
    table = turns(clock, door=Watched(filled(spec, 1.0)))
    for name in ("one", "two"):
        table.add(name, Watched(filled(spec, 1.0)), guest=True)
    cameras, guests = table.due(spec)
    assert [due.seat.name for due in cameras] == ["door"]
    assert [due.seat.name for due in guests] == ["one", "two"]
    table.take(guests[0])
    clock.seconds += STRIDE_S
    for due in guests:
        extend(due.ring, 1.0, 1.5)
    assert [due.seat.name for due in table.due(spec)[1]] == ["two", "one"]  # who waits longest


def test_a_guest_whose_clock_runs_fast_gets_no_more_windows_than_a_camera(
    spec: ClipSpec, clock: Clock
) -> None:
    table, ring = turns(clock), filled(spec, 1.0)
    table.add("hasty", Watched(ring), guest=True)
    taken = 0
    for step in range(1, 41):  # ten times as fast as it should be, for two seconds
        clock.seconds += 0.05
        extend(ring, step + 0.0, step + 1.0)
        if due := table.due_of("hasty", spec):
            table.take(due)
            taken += 1
    assert 2.0 / STRIDE_S - 1 <= taken <= 2.0 / STRIDE_S + 1


def test_another_stride_holds_at_once(spec: ClipSpec, clock: Clock) -> None:
    ring = filled(spec, 1.7)
    table = turns(clock, door=Watched(ring))
    (first,), _ = table.due(spec)
    table.take(first)
    assert first.end_s == 1.5
    table.keep_to(0.4)
    (second,), _ = table.due(spec)
    assert second.end_s == 1.6
    assert second.seat is first.seat
