"""Decodes JPEGs of strangers: what they claim to be is read before anything is made of it."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

_DAMAGED = (OSError, SyntaxError, ValueError, struct.error)


class NoPictureError(Exception):
    """Bytes that are no JPEG, or none that can be shown."""


class TooLargeError(Exception):
    """A picture of more pixels than are wanted."""


def decode(jpeg: bytes, *, most_pixels: int) -> np.ndarray:
    """RGB uint8 (H, W, 3).

    Raises NoPictureError, or TooLargeError before memory is taken for the pixels.
    """
    try:
        # The class itself: Image.open would let other formats in, and several pictures at once.
        image = JpegImageFile(io.BytesIO(jpeg))
    except _DAMAGED as error:
        raise NoPictureError(str(error)) from error
    with image:
        width, height = image.size
        if width * height > most_pixels:
            raise TooLargeError(f"{width} x {height} pixels, {most_pixels} are allowed")
        # No browser makes a progressive one of a canvas, and each of its thousands of scans may
        # be a few bytes that take as long as a whole picture.
        if image.info.get("progressive"):
            raise NoPictureError("a progressive JPEG")
        try:
            return np.asarray(image.convert("RGB"))
        except _DAMAGED as error:
            raise NoPictureError(str(error)) from error
