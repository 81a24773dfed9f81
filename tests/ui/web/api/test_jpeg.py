"""JPEGs of strangers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.jpegs import PICTURE, claiming, jpeg_of
from ui.web.api.jpeg import NoPictureError, TooLargeError, decode


def test_a_picture_comes_out_as_it_went_in() -> None:
    decoded = decode(jpeg_of(PICTURE), most_pixels=64 * 48)
    assert (decoded.shape, decoded.dtype) == (PICTURE.shape, np.uint8)
    assert np.abs(decoded.astype(int) - PICTURE).mean() < 8


def test_a_grey_picture_has_three_colours() -> None:
    assert decode(jpeg_of(PICTURE[..., 0]), most_pixels=10_000).shape == (48, 64, 3)


@pytest.mark.parametrize("size", [(64, 49), (65500, 65500)])
def test_what_claims_to_be_too_large_is_not_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(TooLargeError):
        decode(claiming(jpeg_of(PICTURE), *size), most_pixels=64 * 48)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"GIF89a" + bytes(100),
        jpeg_of(PICTURE, "PNG"),
        jpeg_of(PICTURE)[:200],
        jpeg_of(PICTURE)[:-200],
        claiming(jpeg_of(PICTURE), 0, 10),
        jpeg_of(PICTURE, progressive=True),
    ],
    ids=["nothing", "begun", "gif", "png", "header", "cut off", "no width", "progressive"],
)
def test_what_is_no_plain_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(NoPictureError):
        decode(data, most_pixels=10_000)
