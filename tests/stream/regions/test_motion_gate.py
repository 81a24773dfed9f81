from __future__ import annotations

import numpy as np
import pytest

from stream.regions.motion_gate import MotionGate
from stream.synthetic import Scene


@pytest.fixture
def gate() -> MotionGate:
    return MotionGate(area=0.002, difference=10.0, look_every_s=2.0)


def square(at: int) -> np.ndarray:
    pixels = np.full((64, 64, 3), 60, np.uint8)
    pixels[20:40, at : at + 20] = 200
    return pixels


def show(gate: MotionGate, pictures: list[np.ndarray], *, begin_s: float = 0.0) -> float:
    for number, picture in enumerate(pictures):
        gate.see(picture, begin_s + number / 25)
    return begin_s + (len(pictures) - 1) / 25


def test_it_opens_for_windows_in_which_something_moved(gate: MotionGate) -> None:
    assert gate.opens(-1.0, 0.0)  # the first look
    gate.looked(0.0)
    show(gate, [square(20)] * 25)
    assert not gate.opens(0.0, 1.0)
    show(gate, [square(20 + n // 3) for n in range(25)], begin_s=1.0)
    assert gate.opens(1.0, 2.0)
    gate.looked(2.0)
    assert gate.opens(1.5, 2.5)
    assert not gate.opens(2.25, 3.25)


def test_noise_and_light_are_no_motion(gate: MotionGate) -> None:
    rng = np.random.default_rng(0)
    gate.looked(0.0)
    pictures = [
        np.clip(square(20) + rng.normal(0, 8, (64, 64, 3)) + 0.8 * n, 0, 255).astype(np.uint8)
        for n in range(25)
    ]
    show(gate, pictures)
    assert not gate.opens(0.0, 1.0)


def test_the_model_looks_now_and_then_all_the_same(gate: MotionGate) -> None:
    show(gate, [square(20)] * 250)
    looked = []
    for end_s in np.arange(1.0, 10.0, 0.25):
        if gate.opens(end_s - 1.0, end_s):
            if end_s == 3.0:
                continue  # there was no room for it: the next one will do
            looked.append(end_s)
            gate.looked(end_s)
    assert looked == [1.0, 3.25, 5.25, 7.25, 9.25]


def test_drawn_motions_open_it() -> None:
    scene = Scene(11, width=160, height=120)
    gate = MotionGate(area=0.002, difference=10.0, look_every_s=1000.0)
    gate.looked(0.0)
    motions = [event for event in scene.truth(30.0) if event.end_s < 30.0]
    show(gate, [scene.picture(n / 25) for n in range(750)])
    opened = [event.label for event in motions if gate.opens(event.start_s, event.end_s)]
    assert len(opened) >= len(motions) - 1
