from __future__ import annotations

import math

import pytest

from stream.scheduling.window_grid import WindowGrid


def test_windows_end_at_multiples_of_the_stride() -> None:
    grid = WindowGrid(0.25)
    assert grid.due(0.2) is None
    assert grid.due(0.26) == 0.25
    assert grid.advance_to(0.25) == 0
    assert grid.due(0.49) is None
    assert grid.due(0.5) == 0.5


def test_only_the_newest_window_is_due_and_skipped_ones_are_counted() -> None:
    grid = WindowGrid(0.25)
    grid.advance_to(0.25)
    assert grid.due(1.6) == 1.5
    assert grid.advance_to(1.5) == 4  # 0.5, 0.75, 1.0, 1.25
    assert grid.due(1.6) is None


def test_skipped_camera_has_waited_longer() -> None:
    served, skipped_camera = WindowGrid(0.25), WindowGrid(0.25)
    assert served.waiting_s(1.6) == math.inf  # never served
    served.advance_to(1.25)
    skipped_camera.advance_to(0.5)
    assert skipped_camera.waiting_s(1.6) == pytest.approx(0.85)
    assert served.waiting_s(1.6) == pytest.approx(0.1)


def test_no_window_is_skipped_across_a_gap() -> None:
    grid = WindowGrid(0.25)
    grid.advance_to(0.25)
    grid.update_gaps(gaps=1)
    assert grid.advance_to(10.0) == 0
    grid.update_gaps(gaps=1)
    assert grid.advance_to(11.0) == 3


def test_another_stride_does_not_offer_scored_windows_again() -> None:
    grid = WindowGrid(0.25)
    grid.advance_to(5.0)
    grid.set_stride(1.0)
    assert grid.due(5.9) is None  # 5.0 is scored already
    assert grid.due(6.0) == 6.0
    assert grid.advance_to(6.0) == 0  # none was skipped
    grid.set_stride(0.5)
    assert grid.due(6.4) is None
    assert grid.due(6.5) == 6.5
