"""Clips at uniform distances over a whole video file, for classification."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Generator, Iterator, Set
from pathlib import Path

import numpy as np

from stream.messages import ClipSpec
from stream.regions.frame_ring import nearest_indices
from stream.regions.resize import fit_frame
from stream.sources.base import SourceError
from stream.sources.video_file import open_video

_MAX_DEFAULT_CLIPS = 10  # of a long file


class UniformClips:
    """Clips at equal distances over a video file, in the model's input format.

    `clips` is the number of clips; by default as many as cover the file, at most ten. A file
    shorter than a clip is padded with its last frame, as in the authors' code.
    Raises SourceError where the file can't be read.
    """

    def __init__(self, file: Path, spec: ClipSpec, clips: int | None = None) -> None:
        self._file, self._spec = file, spec
        known = frame_timestamps(file)
        self.duration_s = float(known[-1])  # from the first frame to the last
        if clips is None:
            clips = min(_MAX_DEFAULT_CLIPS, max(1, math.ceil(self.duration_s / spec.span_s)))
        times = clip_times(spec, self.duration_s, clips)
        self._indices = nearest_indices(known, times)  # (clips, T)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The clips, uint8 RGB (T, H, W, 3), each as soon as its last frame is decoded."""
        buffer: dict[int, np.ndarray] = {}
        remaining = iter(self._indices)
        clip = next(remaining)
        wanted = set(self._indices.ravel().tolist())
        fit = functools.partial(fit_frame, spec=self._spec)
        with contextlib.closing(read_frames(self._file, wanted, fit)) as frames:
            for index, frame in frames:
                buffer[index] = frame
                while index == clip[-1]:
                    yield np.stack([buffer[one] for one in clip.tolist()])
                    following = next(remaining, None)
                    if following is None:
                        return
                    clip = following
                    buffer = {one: fitted for one, fitted in buffer.items() if one >= clip[0]}


def frame_timestamps(file: Path) -> np.ndarray:
    """Timestamps of all frames of a file, in seconds from the first one: (N,), N >= 1.

    Reads every frame: the duration in a file's header is too often wrong. Raises SourceError.
    """
    with contextlib.closing(open_video(str(file))) as reader:
        times = []
        while (time_s := reader.advance()) is not None:
            times.append(time_s)
    return np.array(times)


def read_frames(
    file: Path, indices: Set[int], fit: Callable[[np.ndarray], np.ndarray]
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield (index, fitted frame) in order. A damaged frame repeats the one before.

    Raises SourceError where the file can't be read, or its first frames can't be decoded.
    """
    good: np.ndarray | None = None
    with contextlib.closing(open_video(str(file))) as reader:
        for index in range(max(indices) + 1):
            available = reader.advance() is not None
            if index in indices:
                frame = reader.retrieve() if available else None
                good = good if frame is None else fit(frame)
                if good is None:
                    raise SourceError(f"{file}: its first frames can't be decoded")
                yield index, good


def clip_times(spec: ClipSpec, duration_s: float, clips: int) -> np.ndarray:
    """Seconds of the frames, (clips, T): the first clip at the start, the last at the end.

    A single clip is in the middle. Times beyond the end of a short file are clamped to its end.
    """
    step_s = spec.step_s
    last_start_s = max(0.0, duration_s - step_s * (spec.frames - 1))
    starts = np.linspace(0.0, last_start_s, clips) if clips > 1 else np.array([last_start_s / 2])
    return (starts[:, None] + step_s * np.arange(spec.frames)).clip(max=duration_s)
