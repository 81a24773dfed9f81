"""Uniform clips over a whole recorded file, for classifying it."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Generator, Iterator, Set
from pathlib import Path

import numpy as np

from stream.messages import ClipSpec
from stream.regions.frame_ring import nearest
from stream.regions.resize import fit_picture
from stream.sources.opencv_capture import SourceError
from stream.sources.video_file import open_recording

_MOST_BY_ITSELF = 10  # clips of a long file


class FileClips:
    """Clips at equal distances over a video file, as the model wants them.

    `clips` is how many; None takes as many as cover the file, ten at most. A file shorter than a
    clip is filled up with its last picture, as the authors' code does.
    Raises SourceError where the file can't be read.
    """

    def __init__(self, file: Path, spec: ClipSpec, clips: int | None = None) -> None:
        self._file, self._spec = file, spec
        known = picture_times(file)
        self.duration_s = float(known[-1])  # from the first picture to the last
        if clips is None:
            clips = min(_MOST_BY_ITSELF, max(1, math.ceil(self.duration_s / spec.span_s)))
        self._numbers = nearest(known, clip_times(spec, self.duration_s, clips))  # (clips, T)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The clips, uint8 RGB (T, H, W, 3), each when its last picture was decoded."""
        kept: dict[int, np.ndarray] = {}
        coming = iter(self._numbers)
        clip = next(coming)
        wanted = set(self._numbers.ravel().tolist())
        fit = functools.partial(fit_picture, spec=self._spec)
        with contextlib.closing(chosen_pictures(self._file, wanted, fit)) as pictures:
            for number, picture in pictures:
                kept[number] = picture
                while number == clip[-1]:
                    yield np.stack([kept[one] for one in clip.tolist()])
                    following = next(coming, None)
                    if following is None:
                        return
                    clip = following
                    kept = {one: fitted for one, fitted in kept.items() if one >= clip[0]}


def picture_times(file: Path) -> np.ndarray:
    """Seconds of all pictures of a file, from the first one on: (N,), at least one.

    All are looked at: what a file says of its own length is too often wrong. Raises SourceError.
    """
    with contextlib.closing(open_recording(str(file))) as recording:
        times = []
        while (time_s := recording.advance()) is not None:
            times.append(time_s)
    return np.array(times)


def chosen_pictures(
    file: Path, numbers: Set[int], fit: Callable[[np.ndarray], np.ndarray]
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Pictures of a file by their numbers, in order, made to fit. A damaged one is as the last.

    Raises SourceError where the file can't be read, or its first pictures can't be decoded.
    """
    good: np.ndarray | None = None
    with contextlib.closing(open_recording(str(file))) as recording:
        for number in range(max(numbers) + 1):
            there = recording.advance() is not None
            if number in numbers:
                picture = recording.picture() if there else None
                good = good if picture is None else fit(picture)
                if good is None:
                    raise SourceError(f"{file}: its first pictures can't be decoded")
                yield number, good


def clip_times(spec: ClipSpec, duration_s: float, clips: int) -> np.ndarray:
    """Seconds of the frames, (clips, T): the first clip at the beginning, the last at the end.

    A single clip is the middle. What lies beyond the end of a short file is its last moment.
    """
    step_s = spec.step_s
    room_s = max(0.0, duration_s - step_s * (spec.frames - 1))
    starts = np.linspace(0.0, room_s, clips) if clips > 1 else np.array([room_s / 2])
    return (starts[:, None] + step_s * np.arange(spec.frames)).clip(max=duration_s)
