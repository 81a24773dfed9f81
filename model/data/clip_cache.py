"""An on-disk cache of decoded clips: each video is decoded once, not in each epoch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.data.examples import Example
from model.data.segments import MARGIN, MAX_SEGMENT_S, DecodedSegment, decode_segment, read_views
from stream.messages import ClipSpec
from stream.runtime.files import replacing

_log = logging.getLogger(__name__)

_FORMAT = 1  # of the stored arrays; a higher number invalidates all of them

Arrays = tuple[np.ndarray, ...]


@dataclass(eq=False)
class ClipCache:
    """Decoded segments and views of examples, for one ClipSpec. Thread-safe.

    Arrays are memory-mapped from the folder; if it can't be written, for example because the disk
    is full, they stay in memory. `max_slowdown` is that of `decode_segment`.
    """

    folder: Path
    spec: ClipSpec
    max_slowdown: float = 1.0
    _in_memory: dict[str, Arrays] = field(default_factory=dict)

    def segment(self, example: Example) -> DecodedSegment:
        """See `decode_segment`."""

        def decode() -> Arrays:
            segment = decode_segment(example, self.spec, self.max_slowdown)
            bounds = [segment.start_s, segment.end_s, segment.video_s, segment.duration_s]
            return np.concatenate([bounds, segment.times_s]), segment.frames

        kind = ("segment", MARGIN, MAX_SEGMENT_S, self.max_slowdown)
        numbers, frames = self._get(example, kind, 2, decode)
        return DecodedSegment(frames, np.array(numbers[4:]), *numbers[:4].tolist())

    def views(self, example: Example) -> np.ndarray:
        """See `read_views`."""
        return self._get(example, ("views", None), 1, lambda: (read_views(example, self.spec),))[0]

    def _get(
        self, example: Example, kind: tuple[object, ...], count: int, decode: Callable[[], Arrays]
    ) -> Arrays:
        key = self._key(example, kind)
        if key in self._in_memory:
            return self._in_memory[key]
        files = [self.folder / f"{key}-{number}.npy" for number in range(count)]
        try:
            return tuple(np.load(file, mmap_mode="r") for file in files)
        except (OSError, ValueError, EOFError):  # missing, unreadable or corrupted
            arrays = decode()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file, array in zip(files, arrays, strict=True):
                _write(file, array)
        except OSError as error:
            if not self._in_memory:
                problem = "can't write decoded clips to %s (%s): the rest stays in memory"
                _log.warning(problem, self.folder, error)
            self._in_memory[key] = arrays
        return arrays

    def _key(self, example: Example, kind: tuple[object, ...]) -> str:
        """A hash of everything that the decoded arrays depend on."""
        video, spec = example.path.resolve(), self.spec
        try:
            state = video.stat()
            version = (state.st_size, state.st_mtime_ns)
        except OSError:
            version = (0, 0)  # decoding will report the error
        parts = (
            *(_FORMAT, str(video), version, example.start_s, example.end_s, kind),
            *(spec.frames, spec.span_s, spec.height, spec.width, spec.fit, spec.shortest_edge),
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _write(file: Path, array: np.ndarray) -> None:
    # Another thread or process may be decoding the same video.
    # A file that a power failure corrupts is decoded again.
    with replacing(file, shared=True, durable=False) as part, part.open("wb") as stream:
        np.save(stream, array)
