"""Decodes labeled segments of videos, and cuts the windows that a live run would cut."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from model.data.examples import Example
from stream.messages import ClipSpec
from stream.regions.frame_ring import nearest_indices
from stream.regions.resize import fit_frame
from stream.sources.base import SourceError
from stream.sources.uniform_clips import frame_timestamps, read_frames

# Training frames are decoded this much larger than the model's input, for random crops.
MARGIN = 1.15
# A decoded frame is at most an eighth of a step away from any time that a window asks for.
_FRAMES_PER_STEP = 4
_MIN_INTERVAL_S = 1 / 40  # that of a live run's frame ring
_MAX_WINDOWS = 10
# Of one segment: 0.1 GB at the embedded model's size, 1 GB at 224 pixels and the highest rate.
MAX_SEGMENT_S = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSegment:
    """A decoded segment of a video, and the frames around it that its windows can need."""

    frames: np.ndarray  # uint8 RGB, (N, H, W, 3)
    times_s: np.ndarray  # float64 seconds of the video, (N,)
    start_s: float  # of the labeled segment, or of its middle if it is too long
    end_s: float
    video_s: float  # the time of the video's last frame
    duration_s: float  # of the whole labeled segment

    def clip(self, spec: ClipSpec, end_s: float) -> np.ndarray:
        """The window that ends at `end_s`, at the decoded size: (T, H, W, 3)."""
        return self.frames[nearest_indices(self.times_s, spec.times(end_s).clip(0.0, self.video_s))]


def window_ends(
    spec: ClipSpec, start_s: float, end_s: float, video_s: float
) -> tuple[float, float]:
    """The earliest and the latest end time of a segment's windows.

    Windows are inside the segment, or contain it if it is shorter, and are always inside the
    video. If the video is shorter than a window, its last frame is repeated, as in `classify`.
    """
    span_s = spec.step_s * (spec.frames - 1)
    first, last = sorted((start_s + span_s, end_s))
    last = max(span_s, min(last, video_s))
    return min(max(first, span_s), last), last


def is_short(video_s: float, spec: ClipSpec) -> bool:
    """Whether windows of a video of this length repeat its last frame for a step or more."""
    return video_s < spec.step_s * (spec.frames - 2)


def decode_segment(example: Example, spec: ClipSpec, max_slowdown: float = 1.0) -> DecodedSegment:
    """Decode the frames that windows of an example can need, `MARGIN` times the model's size.

    Of a segment longer than `MAX_SEGMENT_S` only the middle is decoded. Windows may be up to
    `max_slowdown` times longer than the span of `spec`. Raises SourceError if the video can't be
    decoded, or ends before the example starts.
    """
    known, start_s, end_s = _bounds(example)
    duration_s = end_s - start_s
    trim_s = max(0.0, duration_s - MAX_SEGMENT_S) / 2
    start_s, end_s = start_s + trim_s, end_s - trim_s
    max_span_s = spec.step_s * (spec.frames - 1) * max_slowdown
    low, high = min(start_s, end_s - max_span_s), max(end_s, start_s + max_span_s)
    # Near the end of the video, windows need earlier frames.
    low = max(0.0, min(low, known[-1] - max_span_s))
    # One more frame on each side, which may be the nearest to a time in between.
    first, last = int(np.searchsorted(known, low, "right")), int(np.searchsorted(known, high))
    inside = np.arange(max(0, first - 1), min(last + 1, len(known)))
    indices = _subsample(known, inside, max(_MIN_INTERVAL_S, spec.step_s / _FRAMES_PER_STEP))
    larger = replace(spec, height=round(spec.height * MARGIN), width=round(spec.width * MARGIN))
    read = dict(read_frames(example.path, set(indices), lambda frame: fit_frame(frame, larger)))
    frames = np.stack([read[index] for index in indices])
    return DecodedSegment(frames, known[indices], start_s, end_s, float(known[-1]), duration_s)


def read_views(
    example: Example,
    spec: ClipSpec,
    windows: int | None = None,
    crops: tuple[float, ...] = (0.5,),
) -> np.ndarray:
    """An example exactly as a live run would see it: uint8 RGB (windows x crops, T, H, W, 3).

    Windows are equally spaced; a single one is in the middle; None gives as many as cover the
    example, at most ten. `crops` are positions for `fit_frame`: several for frames that are
    cropped (arXiv 2102.05095 uses three).
    Raises SourceError as `decode_segment` does.
    """
    known, start_s, end_s = _bounds(example)
    if windows is None:
        windows = min(_MAX_WINDOWS, max(1, math.ceil((end_s - start_s) / spec.span_s)))
    first, last = window_ends(spec, start_s, end_s, float(known[-1]))
    ends = np.linspace(first, last, windows) if windows > 1 else [(first + last) / 2]
    wanted = np.stack([spec.times(end) for end in ends]).clip(0.0, known[-1])
    indices = nearest_indices(known, wanted)  # (windows, T)

    def fit_all(frame: np.ndarray) -> np.ndarray:
        return np.stack([fit_frame(frame, spec, crop) for crop in crops])

    read = dict(read_frames(example.path, set(indices.ravel().tolist()), fit_all))
    views = np.stack([[read[index] for index in row] for row in indices.tolist()])
    return views.swapaxes(1, 2).reshape(-1, *spec.shape(1)[1:])


def _bounds(example: Example) -> tuple[np.ndarray, float, float]:
    """The timestamps of all the video's frames, and the example's start and end."""
    known = frame_timestamps(example.path)
    start_s = example.start_s or 0.0
    end_s = float(known[-1]) if example.end_s is None else min(example.end_s, float(known[-1]))
    if start_s >= end_s and start_s > 0:
        raise SourceError(
            f"{example.path}: an example starts at {start_s:g} s, but the video ends at "
            f"{known[-1]:g} s; correct its start and end"
        )
    return known, start_s, end_s


def _subsample(known: np.ndarray, inside: np.ndarray, interval_s: float) -> list[int]:
    """The frame indices `inside`, thinned out to about one per interval."""
    slots = np.floor((known[inside] - known[inside[0]]) / interval_s + 1e-6)
    _, first = np.unique(slots, return_index=True)
    return inside[first].tolist()
