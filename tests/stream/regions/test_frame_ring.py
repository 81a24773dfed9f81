from __future__ import annotations

import numpy as np
import pytest

from stream.messages import ClipSpec
from stream.regions.frame_ring import FrameRing, NotCoveredError


def filled(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


def fill(ring: FrameRing, times: np.ndarray) -> None:
    for number, time_s in enumerate(times):
        ring.append(filled(number % 256), float(time_s), 1000 + float(time_s))


@pytest.mark.parametrize("fps", [10, 15, 25, 30])
def test_window_matches_the_requested_times_at_any_frame_rate(spec: ClipSpec, fps: int) -> None:
    ring = FrameRing(spec)
    fill(ring, np.arange(0, 2, 1 / fps))
    wanted = spec.times(1.5)
    _, times, _ = ring.window(wanted)
    assert np.abs(times - wanted).max() <= 0.5 / fps + 1e-9


def test_nearest_frames_are_used_at_a_varying_frame_rate(spec: ClipSpec) -> None:
    ring = FrameRing(spec)
    fill(ring, np.array([0.0, 0.11, 0.18, 0.33, 0.40]))
    frames, times, seen_at = ring.window(np.array([0.0, 0.1, 0.2, 0.3]))
    assert times.tolist() == [0.0, 0.11, 0.18, 0.33]
    assert frames[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert seen_at == pytest.approx(1000.33)


def test_oldest_frames_are_overwritten(spec: ClipSpec) -> None:
    ring = FrameRing(spec)
    fill(ring, np.arange(1000) / 25)
    newest = 999 / 25
    frames, times, _ = ring.window(spec.times(newest))
    assert times[-1] == pytest.approx(newest)
    assert frames[-1, 0, 0, 0] == 999 % 256
    with pytest.raises(NotCoveredError):
        ring.window(spec.times(1.0))


def test_window_that_is_not_covered_raises(spec: ClipSpec) -> None:
    ring = FrameRing(spec)
    assert not ring.covers(spec.times(0.3))
    fill(ring, np.arange(0, 0.25, 0.04))
    assert not ring.covers(spec.times(0.2))  # starts before the first frame
    assert not ring.covers(spec.times(1.0))  # ends after the last
    with pytest.raises(NotCoveredError):
        ring.window(spec.times(0.2))


def test_copied_window_does_not_change_with_the_ring(spec: ClipSpec) -> None:
    ring = FrameRing(spec)
    fill(ring, np.arange(0, 1, 0.04))
    frames, _, _ = ring.window(spec.times(0.5))
    before = frames.copy()
    for number in range(200):
        ring.append(filled(255), 1 + number / 25, 0.0)
    assert np.array_equal(frames, before)


def test_high_frame_rate_is_thinned(spec: ClipSpec) -> None:
    ring = FrameRing(spec)
    stored = 0
    for time_s in np.arange(0, 1, 1 / 120):
        if ring.accepts(float(time_s)):
            ring.append(filled(0), float(time_s), 0.0)
            stored += 1
    assert 24 <= stored <= 40


def test_frames_out_of_order_are_rejected(spec: ClipSpec) -> None:
    ring = FrameRing(spec)
    ring.append(filled(0), 1.0, 0.0)
    with pytest.raises(ValueError, match=r"in order: 0\.5 after 1\.0"):
        ring.append(filled(0), 0.5, 0.0)


def test_clear_drops_all_frames(spec: ClipSpec) -> None:
    ring = FrameRing(spec)
    fill(ring, np.arange(0, 1, 0.04))
    ring.clear()
    assert ring.newest_s is None
    assert not ring.covers(spec.times(0.5))
