"""Decodes untrusted JPEGs: the header is checked before memory is allocated."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

_DECODE_ERRORS = (OSError, SyntaxError, ValueError, struct.error)


class InvalidImageError(Exception):
    """The bytes are not a JPEG, or it can't be decoded."""


class ImageTooLargeError(Exception):
    """The image has more pixels than allowed."""


def decode(jpeg: bytes, *, max_pixels: int) -> np.ndarray:
    """RGB uint8 (H, W, 3).

    Raises InvalidImageError, or ImageTooLargeError before the pixels are allocated.
    """
    try:
        # The class itself: Image.open would accept other formats, and multi-image files.
        image = JpegImageFile(io.BytesIO(jpeg))
    except _DECODE_ERRORS as error:
        raise InvalidImageError(str(error)) from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageTooLargeError(f"{width} x {height} pixels, {max_pixels} are allowed")
        # Browsers never encode a canvas as progressive JPEG, and each of its thousands of scans
        # may be a few bytes that take as long to decode as a whole image.
        if image.info.get("progressive"):
            raise InvalidImageError("a progressive JPEG")
        try:
            return np.asarray(image.convert("RGB"))
        except _DECODE_ERRORS as error:
            raise InvalidImageError(str(error)) from error
