"""ClipBuffer: JPEGs of a camera's last seconds, for event clips with a pre-roll.

It owns the thread that encodes the JPEGs; the capture thread only queues frames.
"""

from __future__ import annotations

import queue
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from operator import attrgetter

from stream.capture.latest_frame import LatestFrame
from stream.messages import Frame
from stream.runtime.metrics import Metrics
from stream.runtime.service import ServiceThread

_MAX_QUEUED = 8  # frames that wait for encoding: uncompressed, up to 25 MB each
_time_s = attrgetter("time_s")


@dataclass(frozen=True, slots=True)
class BufferedFrame:
    """An encoded frame of a camera."""

    time_s: float  # on the camera's clock
    jpeg: bytes
    dropped_before: int  # frames dropped under load between the previous one and this one


class ClipBuffer:
    """Holds the frames of the last `duration_s` seconds, and older ones that a clip still needs.

    Above `max_bytes` the oldest are evicted even if a clip needs them; see `evicted_s`.
    `on_buffered` is called on the buffer's thread after each frame, and must not block.
    """

    def __init__(
        self,
        camera: str,
        latest_frame: LatestFrame,
        metrics: Metrics,
        *,
        duration_s: float,
        max_bytes: int,
        on_buffered: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.camera = camera
        self._latest_frame, self._metrics = latest_frame, metrics
        self._duration_s, self._max_bytes = duration_s, max_bytes
        self._on_buffered = on_buffered
        self._now = now
        # Frames with the number dropped before each.
        self._queue: queue.Queue[tuple[Frame, int]] = queue.Queue(_MAX_QUEUED)
        self._dropped = 0  # since the newest queued frame
        self._lock = threading.Lock()  # guards the fields below
        self._frames: list[BufferedFrame] = []  # by time
        self._bytes = 0
        self._evicted_s: float | None = None
        self._retain_from_s = inf
        self._arrived_at = now()  # monotonic seconds, of the newest frame
        self._unsubscribe: Callable[[], None] = lambda: None
        self._thread = ServiceThread(
            f"clip buffer of {camera}",
            self._run,
            metrics=metrics,
            crashes="recorder_crashes",
            camera=camera,
            on_crash=lambda _: self._unsubscribe(),  # the run continues without clips of it
        )

    def start(self) -> None:
        self._thread.start()
        self._unsubscribe = self._latest_frame.subscribe(self._enqueue)

    def request_stop(self) -> None:
        """Accept no more frames; queued ones are still encoded."""
        self._unsubscribe()
        self._thread.request_stop()

    def join(self, timeout_s: float) -> bool:
        return self._thread.join(timeout_s)

    @property
    def newest_s(self) -> float | None:
        """Time of the newest frame, None before the first."""
        with self._lock:
            return self._frames[-1].time_s if self._frames else None

    @property
    def evicted_s(self) -> float | None:
        """Time of the newest evicted frame, None if no frame was evicted."""
        with self._lock:
            return self._evicted_s

    @property
    def idle_s(self) -> float:
        """Monotonic seconds since the newest frame arrived."""
        with self._lock:
            return self._now() - self._arrived_at

    def retain_from(self, time_s: float) -> None:
        """Retain frames from `time_s` on, however old they become; older ones are evicted at once.

        Infinity: no clip needs any.
        """
        with self._lock:
            self._retain_from_s = time_s
            self._evict()

    def set_duration(self, duration_s: float) -> None:
        with self._lock:
            self._duration_s = duration_s

    def nearest(self, time_s: float) -> BufferedFrame | None:
        """The frame nearest to a time."""
        with self._lock:
            after = bisect_left(self._frames, time_s, key=_time_s)
            neighbors = self._frames[max(0, after - 1) : after + 1]
            return min(neighbors, key=lambda frame: abs(frame.time_s - time_s), default=None)

    def first_from(self, time_s: float) -> BufferedFrame | None:
        """The first frame at or after a time."""
        with self._lock:
            index = bisect_left(self._frames, time_s, key=_time_s)
            return self._frames[index] if index < len(self._frames) else None

    def between(self, after_s: float, until_s: float, max_frames: int) -> list[BufferedFrame]:
        """Frames later than `after_s` and not later than `until_s`, oldest first.

        Raises LookupError if some of them were evicted.
        """
        with self._lock:
            if self._evicted_s is not None and self._evicted_s > after_s:
                raise LookupError("unwritten frames exceeded recording.max_buffer")
            first = bisect_right(self._frames, after_s, key=_time_s)
            last = bisect_right(self._frames, until_s, key=_time_s)
            return self._frames[first : min(last, first + max_frames)]

    def _enqueue(self) -> None:
        """Queue the latest frame. Runs on the capture thread."""
        frame = self._latest_frame.frame
        if frame is None:
            return
        try:
            self._queue.put_nowait((frame, self._dropped))
            self._dropped = 0
        except queue.Full:
            self._dropped += 1
            self._metrics.count("recorder_dropped_frames", self.camera)

    def _run(self) -> None:
        for frame, dropped_before in self._thread.items(self._queue):
            jpeg = self._latest_frame.jpeg_of(frame)
            self._store(BufferedFrame(frame.time_s, jpeg, dropped_before))
            self._on_buffered()

    def _store(self, frame: BufferedFrame) -> None:
        with self._lock:
            if self._frames and frame.time_s <= self._frames[-1].time_s:
                return  # times in a clip must increase
            self._frames.append(frame)
            self._bytes += len(frame.jpeg)
            self._arrived_at = self._now()
            self._evict()

    def _evict(self) -> None:
        if not self._frames:
            return
        from_s = min(self._frames[-1].time_s - self._duration_s, self._retain_from_s)
        count = bisect_left(self._frames, from_s, key=_time_s)
        size = self._bytes - sum(len(frame.jpeg) for frame in self._frames[:count])
        while size > self._max_bytes and count < len(self._frames) - 1:
            size -= len(self._frames[count].jpeg)
            count += 1
        if count:
            self._evicted_s = self._frames[count - 1].time_s
            self._bytes = size
            del self._frames[:count]
