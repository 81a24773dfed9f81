from __future__ import annotations

import numpy as np
import pytest

from stream.config.config import MotionGateConfig
from stream.regions.motion_gate import MotionGate
from stream.synthetic.scene import Scene


@pytest.fixture
def gate() -> MotionGate:
    return MotionGate(MotionGateConfig())


def square(at: int) -> np.ndarray:
    pixels = np.full((64, 64, 3), 60, np.uint8)
    pixels[20:40, at : at + 20] = 200
    return pixels


def feed(gate: MotionGate, frames: list[np.ndarray], *, start_s: float = 0.0) -> float:
    for index, frame in enumerate(frames):
        gate.update(frame, start_s + index / 25)
    return start_s + (len(frames) - 1) / 25


def test_windows_with_motion_are_scored(gate: MotionGate) -> None:
    assert gate.should_score(-1.0, 0.0)  # the first window
    gate.mark_scored(0.0)
    feed(gate, [square(20)] * 25)
    assert not gate.should_score(0.0, 1.0)
    feed(gate, [square(20 + n // 3) for n in range(25)], start_s=1.0)
    assert gate.should_score(1.0, 2.0)
    gate.mark_scored(2.0)
    assert gate.should_score(1.5, 2.5)
    assert not gate.should_score(2.25, 3.25)


def test_noise_and_light_changes_are_no_motion(gate: MotionGate) -> None:
    rng = np.random.default_rng(0)
    gate.mark_scored(0.0)
    frames = [
        np.clip(square(20) + rng.normal(0, 8, (64, 64, 3)) + 0.8 * n, 0, 255).astype(np.uint8)
        for n in range(25)
    ]
    feed(gate, frames)
    assert not gate.should_score(0.0, 1.0)


def test_still_windows_are_scored_after_max_interval(gate: MotionGate) -> None:
    feed(gate, [square(20)] * 250)
    scored = []
    for end_s in np.arange(1.0, 10.0, 0.25):
        if gate.should_score(end_s - 1.0, end_s):
            if end_s == 3.0:
                continue  # dropped, since no worker was free: the next window is scored
            scored.append(end_s)
            gate.mark_scored(end_s)
    assert scored == [1.0, 3.25, 5.25, 7.25, 9.25]


def test_synthetic_motions_are_scored() -> None:
    scene = Scene(11, width=160, height=120)
    gate = MotionGate(MotionGateConfig(max_interval=1000.0))
    gate.mark_scored(0.0)
    motions = [event for event in scene.ground_truth(30.0) if event.end_s < 30.0]
    feed(gate, [scene.render(n / 25) for n in range(750)])
    scored = [event.label for event in motions if gate.should_score(event.start_s, event.end_s)]
    assert len(scored) >= len(motions) - 1
