from __future__ import annotations

import math

import pytest

from stream.scheduling.window_grid import WindowGrid


def test_windows_end_at_multiples_of_the_stride() -> None:
    grid = WindowGrid(0.25)
    assert grid.due(0.2) is None
    assert grid.due(0.26) == 0.25
    assert grid.take(0.25) == 0
    assert grid.due(0.49) is None
    assert grid.due(0.5) == 0.5


def test_only_the_freshest_window_is_due_and_the_others_are_counted() -> None:
    grid = WindowGrid(0.25)
    grid.take(0.25)
    assert grid.due(1.6) == 1.5
    assert grid.take(1.5) == 4  # 0.5, 0.75, 1.0, 1.25
    assert grid.due(1.6) is None


def test_a_camera_that_was_passed_over_has_waited_longer() -> None:
    served, passed_over = WindowGrid(0.25), WindowGrid(0.25)
    assert served.waiting_s(1.6) == math.inf  # never had a turn
    served.take(1.25)
    passed_over.take(0.5)
    assert passed_over.waiting_s(1.6) == pytest.approx(0.85)
    assert served.waiting_s(1.6) == pytest.approx(0.1)


def test_after_a_gap_nothing_counts_as_passed_over() -> None:
    grid = WindowGrid(0.25)
    grid.take(0.25)
    grid.heed(gaps=1)
    assert grid.take(10.0) == 0
    grid.heed(gaps=1)
    assert grid.take(11.0) == 3
