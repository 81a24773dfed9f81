"""Untrusted JPEGs."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg_of(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


IMAGE = np.zeros((48, 64, 3), np.uint8)
IMAGE[:, 32:] = (220, 30, 60)


def claiming(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 4 :]
