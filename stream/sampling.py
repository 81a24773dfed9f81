"""Uniform clips over a whole recorded file, for classifying it."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np

from stream.messages import ClipSpec
from stream.resize import fit_picture
from stream.ring import nearest
from stream.sources import SourceError, open_recording

_MOST_BY_ITSELF = 10  # clips of a long file


def sample_clips(file: Path, spec: ClipSpec, clips: int | None = None) -> np.ndarray:
    """Clips at equal distances over a video file, as the model wants them.

    `clips` is how many; None takes as many as cover the file, ten at most. A file shorter than a
    clip is filled up with its last picture, as the authors' code does.
    Returns uint8 RGB (clips, T, H, W, 3). Raises SourceError where the file can't be read.
    """
    if not file.is_file():
        raise SourceError(f"{file}: no such file" if not file.exists() else f"{file}: is no file")
    known = _times(file)
    duration_s = float(known[-1])
    if clips is None:
        clips = min(_MOST_BY_ITSELF, max(1, math.ceil(duration_s / spec.span_s)))
    wanted = clip_times(spec, duration_s, clips)
    return _pictures(file, spec, nearest(known, wanted))


def clip_times(spec: ClipSpec, duration_s: float, clips: int) -> np.ndarray:
    """Seconds of the frames, (clips, T): the first clip at the beginning, the last at the end.

    A single clip is the middle. What lies beyond the end of a short file is its last moment.
    """
    step_s = spec.step_s
    room_s = max(0.0, duration_s - step_s * (spec.frames - 1))
    starts = np.linspace(0.0, room_s, clips) if clips > 1 else np.array([room_s / 2])
    return (starts[:, None] + step_s * np.arange(spec.frames)).clip(max=duration_s)


def _times(file: Path) -> np.ndarray:
    """The times of all pictures. What a file says of its own length is too often wrong."""
    with contextlib.closing(open_recording(str(file))) as recording:
        times = []
        while (time_s := recording.advance()) is not None:
            times.append(time_s)
    return np.array(times)


def _pictures(file: Path, spec: ClipSpec, numbers: np.ndarray) -> np.ndarray:
    """The pictures of these numbers, (...) -> uint8 (..., H, W, 3). A damaged one repeats its
    neighbour."""
    wanted = set(numbers.ravel().tolist())
    kept: dict[int, np.ndarray] = {}
    with contextlib.closing(open_recording(str(file))) as recording:
        for number in range(max(wanted) + 1):
            if recording.advance() is None:
                break
            if number in wanted and (picture := recording.picture()) is not None:
                kept[number] = fit_picture(picture, spec)
    if not kept:
        raise SourceError(f"{file}: no picture could be decoded")
    good = np.array(sorted(kept))
    place = {n: good[np.abs(good - n).argmin()] for n in wanted}
    flat = np.stack([kept[place[n]] for n in numbers.ravel().tolist()])
    return flat.reshape(*numbers.shape, *flat.shape[1:])
