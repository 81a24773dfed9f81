"""Draws predictions and events on a frame: (frame, caption) -> a new frame. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_TEXT, _DIM = (255, 255, 255), (210, 210, 210)
_SHADE, _BAR, _EVENT = (0, 0, 0), (70, 150, 235), (215, 55, 45)
_FONT = cv2.FontFace("sans")  # covers all alphabets; its only state is the glyph cache


@dataclass(frozen=True, slots=True)
class Caption:
    """The text drawn on a frame."""

    clock: str  # the time, as text
    events: tuple[tuple[str, float], ...]  # open events with their duration so far, in seconds
    labels: tuple[tuple[str, float], ...]  # top-k with probabilities, best first


def caption_at(
    time_s: float,
    labels: Sequence[tuple[str, float]],
    events: Sequence[tuple[str, float, float]],
) -> Caption:
    """The caption at a time of a video. `events` are (label, start, end) in seconds."""
    minutes, tenths = divmod(round(10 * time_s), 600)
    open_events = tuple(
        (label, time_s - start_s) for label, start_s, end_s in events if start_s <= time_s <= end_s
    )
    return Caption(f"{minutes:02d}:{tenths / 10:04.1f}", open_events, tuple(labels))


def draw(frame: np.ndarray, caption: Caption) -> np.ndarray:
    """Return a copy of a frame, uint8 RGB (H, W, 3), with the caption drawn on it."""
    drawn = frame.copy()
    height, width = drawn.shape[:2]
    size = max(10, height // 28)
    line, left, y = round(size * 1.7), size // 2, size // 2
    _box(drawn, left, y, _width(caption.clock, size) + size, line, _SHADE)
    _write(drawn, caption.clock, left + size // 2, y, size, _DIM)
    for label, seconds in caption.events:
        y += line
        text = _truncate(f"{label} {seconds:.1f} s", size, width - 2 * size)
        _box(drawn, left, y, _width(text, size) + size, line, _EVENT, 0.9)
        _write(drawn, text, left + size // 2, y, size, _TEXT)
    max_width = round(0.45 * width)
    for label, probability in caption.labels:
        y += line
        _box(drawn, left, y, max_width, line, _SHADE)
        _box(drawn, left, y, round(max_width * probability), line, _BAR, 0.85)
        text = _truncate(f"{probability:.0%} {label}", size, max_width - size)
        _write(drawn, text, left + size // 2, y, size, _TEXT)
    return drawn


def _box(
    frame: np.ndarray,
    x: int,
    y: int,
    width: int,
    line: int,
    color: tuple[int, int, int],
    alpha: float = 0.55,
) -> None:
    """Draw the background of a line, two pixels lower than the line."""
    part = frame[y : y + line - 2, x : x + width]
    part[:] = part * (1 - alpha) + np.array(color) * alpha


def _write(
    frame: np.ndarray, text: str, x: int, y: int, size: int, color: tuple[int, int, int]
) -> None:
    cv2.putText(frame, text, (x, y + round(size * 1.15)), color, _FONT, size)


def _width(text: str, size: int) -> int:
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _FONT, size)
    return int(width)


def _truncate(text: str, size: int, width: int) -> str:
    """A text on one line, cut to at most `width` pixels."""
    text = " ".join(text.split())
    if _width(text, size) <= width:
        return text
    while text and _width(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text}..."
