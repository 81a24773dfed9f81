"""ClipBuffer: one camera's pictures of the last seconds, as JPEG, for clips with a pre-roll.

It owns the thread that makes the JPEGs; the capture thread only hands frames over.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stream.capture.latest_frame import LatestPicture
from stream.messages import Frame
from stream.runtime.metrics import Metrics

_log = logging.getLogger(__name__)
_MOST_WAITING = 8  # frames that wait to become JPEGs: whole pictures, up to 25 MB each


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a camera as it waits for a clip."""

    time_s: float  # on the camera's clock
    jpeg: bytes
    missed: int  # frames between it and the one before that were dropped under load


class ClipBuffer:
    """Keeps the pictures of the last `keep_s` seconds, and older ones that are still needed.

    They take `memory` bytes at most: beyond it the oldest go, needed or not, and `lost_s` tells.
    `on_picture` is called on the buffer's thread after each one, and must not block.
    """

    def __init__(
        self,
        camera: str,
        picture: LatestPicture,
        metrics: Metrics,
        *,
        keep_s: float,
        memory: int,
        on_picture: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.camera = camera
        self._picture, self._metrics = picture, metrics
        self._keep_s, self._memory = keep_s, memory
        self._on_picture = on_picture
        self._now = now
        self._waiting: deque[tuple[Frame, int]] = deque()  # with how many were dropped before it
        self._dropped = 0  # since the newest frame that waits
        self._news = threading.Condition()  # of what waits
        self._stopping = False
        self._lock = threading.Lock()  # of what is kept
        self._times: list[float] = []  # of `_kept`, for bisection
        self._kept: list[Picture] = []
        self._bytes = 0
        self._lost_s: float | None = None
        self._needed_s: float | None = None
        self._arrived_at = now()  # monotonic seconds of the newest picture's arrival
        self._unsubscribe: Callable[[], None] = lambda: None
        self._thread = threading.Thread(
            target=self._run, name=f"recorder pictures {camera}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()
        self._unsubscribe = self._picture.subscribe(self._take)

    def tell_stop(self) -> None:
        """Take no more frames; those that wait are still kept."""
        self._unsubscribe()
        with self._news:
            self._stopping = True
            self._news.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False where it did not come in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def newest_s(self) -> float | None:
        """Time of the newest picture, or None before the first."""
        with self._lock:
            return self._times[-1] if self._times else None

    @property
    def lost_s(self) -> float | None:
        """Time of the newest picture that is kept no more, or None while all are."""
        with self._lock:
            return self._lost_s

    @property
    def quiet_s(self) -> float:
        """Monotonic seconds since the newest picture came."""
        with self._lock:
            return self._now() - self._arrived_at

    @property
    def bytes_kept(self) -> int:
        with self._lock:
            return self._bytes

    def need_from(self, time_s: float | None) -> None:
        """Keep what is later than `time_s`, however old it becomes; None: nothing is needed."""
        with self._lock:
            self._needed_s = time_s

    def keep_for(self, keep_s: float) -> None:
        """From now on keep the pictures of so many seconds."""
        with self._lock:
            self._keep_s = keep_s

    def nearest(self, time_s: float) -> Picture | None:
        """The picture that was taken nearest to a moment."""
        with self._lock:
            after = bisect_left(self._times, time_s)
            around = self._kept[max(0, after - 1) : after + 1]
            return min(around, key=lambda one: abs(one.time_s - time_s), default=None)

    def first_from(self, time_s: float) -> Picture | None:
        """The first picture that was not taken before a moment."""
        with self._lock:
            place = bisect_left(self._times, time_s)
            return self._kept[place] if place < len(self._kept) else None

    def between(self, after_s: float, until_s: float, most: int) -> list[Picture]:
        """Pictures later than `after_s` and not later than `until_s`, oldest first.

        Raises LookupError where some of them had to go.
        """
        with self._lock:
            if self._lost_s is not None and self._lost_s > after_s:
                raise LookupError("more pictures waited than recording.memory allows")
            first = bisect_right(self._times, after_s)
            last = bisect_right(self._times, until_s)
            return self._kept[first : min(last, first + most)]

    def _take(self) -> None:
        """There is a new frame. On the capture thread."""
        frame = self._picture.frame
        if frame is None:
            return
        with self._news:
            if len(self._waiting) == _MOST_WAITING:
                self._dropped += 1
                self._metrics.count("unrecorded_frames", self.camera)
                return
            self._waiting.append((frame, self._dropped))
            self._dropped = 0
            self._news.notify()

    def _run(self) -> None:
        try:
            while (waiting := self._next()) is not None:
                frame, missed = waiting
                self._keep(Picture(frame.time_s, self._picture.jpeg_of(frame), missed))
                self._on_picture()
        except Exception:  # the watch goes on without clips of this camera
            _log.exception("the pictures of %s are recorded no more", self.camera)
            self._unsubscribe()
            self._metrics.count("recorder_deaths", self.camera)

    def _next(self) -> tuple[Frame, int] | None:
        """The oldest frame that waits; None at the stop, when all are done."""
        with self._news:
            while not self._waiting:
                if self._stopping:
                    return None
                self._news.wait()
            return self._waiting.popleft()

    def _keep(self, picture: Picture) -> None:
        with self._lock:
            if self._times and picture.time_s <= self._times[-1]:
                return  # a clip's times only go forward
            self._times.append(picture.time_s)
            self._kept.append(picture)
            self._bytes += len(picture.jpeg)
            self._arrived_at = self._now()
            self._forget()

    def _forget(self) -> None:
        from_s = self._times[-1] - self._keep_s
        if self._needed_s is not None:
            from_s = min(from_s, self._needed_s)
        gone = bisect_left(self._times, from_s)
        size = self._bytes - sum(len(one.jpeg) for one in self._kept[:gone])
        while size > self._memory and gone < len(self._kept) - 1:
            size -= len(self._kept[gone].jpeg)
            gone += 1
        if gone:
            self._lost_s = self._times[gone - 1]
            self._bytes = size
            del self._times[:gone], self._kept[:gone]
