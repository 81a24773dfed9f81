"""Draws predictions and events on a picture: (picture, what to say) -> a new picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_TEXT, _DIM = (255, 255, 255), (210, 210, 210)
_SHADE, _BAR, _EVENT = (0, 0, 0), (70, 150, 235), (215, 55, 45)
_FACE = cv2.FontFace("sans")  # knows all alphabets; has no state but its glyphs


@dataclass(frozen=True, slots=True)
class Caption:
    """What is said on a picture."""

    clock: str  # the time, as text
    events: tuple[tuple[str, float], ...]  # that go on, with how long they have, in seconds
    labels: tuple[tuple[str, float], ...]  # the likeliest, best first, with their probabilities


def caption_at(
    time_s: float,
    labels: Sequence[tuple[str, float]],
    events: Sequence[tuple[str, float, float]],
) -> Caption:
    """What to say at a moment of a film. `events` are (label, start, end), in its seconds."""
    minutes, tenths = divmod(round(10 * time_s), 600)
    going_on = tuple(
        (label, time_s - start_s) for label, start_s, end_s in events if start_s <= time_s <= end_s
    )
    return Caption(f"{minutes:02d}:{tenths / 10:04.1f}", going_on, tuple(labels))


def draw(picture: np.ndarray, caption: Caption) -> np.ndarray:
    """A copy of a picture, uint8 RGB (H, W, 3), with a caption on it."""
    drawn = picture.copy()
    height, width = drawn.shape[:2]
    size = max(10, height // 28)
    line, left, y = round(size * 1.7), size // 2, size // 2
    _box(drawn, left, y, _width(caption.clock, size) + size, line, _SHADE)
    _write(drawn, caption.clock, left + size // 2, y, size, _DIM)
    for label, seconds in caption.events:
        y += line
        text = _fitting(f"{label} {seconds:.1f} s", size, width - 2 * size)
        _box(drawn, left, y, _width(text, size) + size, line, _EVENT, 0.9)
        _write(drawn, text, left + size // 2, y, size, _TEXT)
    longest = round(0.45 * width)
    for label, share in caption.labels:
        y += line
        _box(drawn, left, y, longest, line, _SHADE)
        _box(drawn, left, y, round(longest * share), line, _BAR, 0.85)
        text = _fitting(f"{share:.0%} {label}", size, longest - size)
        _write(drawn, text, left + size // 2, y, size, _TEXT)
    return drawn


def _box(
    picture: np.ndarray,
    x: int,
    y: int,
    width: int,
    line: int,
    colour: tuple[int, int, int],
    alpha: float = 0.55,
) -> None:
    """A line's background, a little less high than the line."""
    part = picture[y : y + line - 2, x : x + width]
    part[:] = part * (1 - alpha) + np.array(colour) * alpha


def _write(
    picture: np.ndarray, text: str, x: int, y: int, size: int, colour: tuple[int, int, int]
) -> None:
    cv2.putText(picture, text, (x, y + round(size * 1.15)), colour, _FACE, size)


def _width(text: str, size: int) -> int:
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _FACE, size)
    return int(width)


def _fitting(text: str, size: int, width: int) -> str:
    """A text on one line, cut where it is wider than so many pixels."""
    text = " ".join(text.split())
    if _width(text, size) <= width:
        return text
    while text and _width(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text}..."
