"""Untrusted JPEGs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.jpegs import IMAGE, claiming, jpeg_of
from ui.web.api.try_it import FRAME_TOO_LARGE, INVALID_FRAME, EndSessionError, decode_jpeg


def test_decoded_image_matches_the_original() -> None:
    decoded = decode_jpeg(jpeg_of(IMAGE), max_pixels=64 * 48)
    assert (decoded.shape, decoded.dtype) == (IMAGE.shape, np.uint8)
    assert np.abs(decoded.astype(int) - IMAGE).mean() < 8


def test_gray_image_has_three_channels() -> None:
    assert decode_jpeg(jpeg_of(IMAGE[..., 0]), max_pixels=10_000).shape == (48, 64, 3)


@pytest.mark.parametrize("size", [(64, 49), (65500, 65500)])
def test_image_whose_header_claims_too_many_pixels_is_not_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(EndSessionError) as caught:
        decode_jpeg(claiming(jpeg_of(IMAGE), *size), max_pixels=64 * 48)
    assert caught.value.code == FRAME_TOO_LARGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"GIF89a" + bytes(100),
        jpeg_of(IMAGE, "PNG"),
        jpeg_of(IMAGE)[:200],
        jpeg_of(IMAGE)[:-200],
        claiming(jpeg_of(IMAGE), 0, 10),
        jpeg_of(IMAGE, progressive=True),
    ],
    ids=["empty", "start marker", "gif", "png", "header", "truncated", "no width", "progressive"],
)
def test_invalid_jpeg_is_rejected(data: bytes) -> None:
    with pytest.raises(EndSessionError) as caught:
        decode_jpeg(data, max_pixels=10_000)
    assert caught.value.code == INVALID_FRAME
