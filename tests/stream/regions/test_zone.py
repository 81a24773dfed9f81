from __future__ import annotations

import numpy as np
import pytest

from stream.regions.zone import Zone


def numbered(height: int = 40, width: int = 100) -> np.ndarray:
    """An image whose red is x and whose green is y."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.meshgrid(np.arange(width), np.arange(height))
    return pixels


def test_rectangle_is_cropped_by_two_corners() -> None:
    part = Zone([(0.2, 0.5), (0.6, 1.0)]).crop(numbered())
    assert part.shape == (20, 40, 3)
    assert part[0, 0].tolist() == [20, 20, 0]
    assert part[-1, -1].tolist() == [59, 39, 0]


def test_polygon_is_cropped_by_its_bounding_box() -> None:
    triangle = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    assert np.array_equal(Zone(triangle).crop(numbered()), numbered())


def test_mask_blackens_pixels_outside_of_a_polygon() -> None:
    zone = Zone([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], mask=True)
    bright = np.full((40, 100, 3), 200, np.uint8)
    part = zone.crop(bright)
    assert part[2, 2].tolist() == [200] * 3
    assert part[-2, -2].tolist() == [0] * 3
    assert (part > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (bright == 200).all()  # the camera's own frame is unchanged
    assert zone.crop(numbered(80, 200)).shape == (80, 200, 3)  # frames may change their size


def test_smallest_zone_has_at_least_one_pixel() -> None:
    assert Zone([(0.99, 0.99), (1.0, 1.0)]).crop(numbered(8, 8)).size > 0
