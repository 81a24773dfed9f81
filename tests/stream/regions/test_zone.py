from __future__ import annotations

import numpy as np
import pytest

from stream.regions.zone import Zone


def numbered(height: int = 40, width: int = 100) -> np.ndarray:
    """A picture whose red is x and whose green is y."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.meshgrid(np.arange(width), np.arange(height))
    return pixels


def test_a_rectangle_is_cut_by_two_of_its_corners() -> None:
    part = Zone([(0.2, 0.5), (0.6, 1.0)]).cut(numbered())
    assert part.shape == (20, 40, 3)
    assert part[0, 0].tolist() == [20, 20, 0]
    assert part[-1, -1].tolist() == [59, 39, 0]


def test_a_polygon_is_cut_by_its_bounding_box() -> None:
    triangle = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    assert np.array_equal(Zone(triangle).cut(numbered()), numbered())


def test_what_is_outside_of_a_polygon_can_be_black() -> None:
    zone = Zone([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], mask=True)
    bright = np.full((40, 100, 3), 200, np.uint8)
    part = zone.cut(bright)
    assert part[2, 2].tolist() == [200] * 3
    assert part[-2, -2].tolist() == [0] * 3
    assert (part > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (bright == 200).all()  # the camera's own picture is as it was
    assert zone.cut(numbered(80, 200)).shape == (80, 200, 3)  # pictures may change their size


def test_the_smallest_zone_is_still_a_picture() -> None:
    assert Zone([(0.99, 0.99), (1.0, 1.0)]).cut(numbered(8, 8)).size > 0
