"""A capture session: one connection to a source. Its thread opens, reads and closes the source."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable

from stream.messages import FrameTime
from stream.runtime.metrics import Metrics
from stream.runtime.service import ServiceThread
from stream.sources.base import PermanentSourceError, Source, SourceError


class CaptureSession:
    """Reads a source until it ends, fails, or a stop is requested.

    A read may block forever in code that can't be interrupted. So the supervisor waits for
    `wakeup`, checks `newest_at`, and requests a stop. The thread may return late or never;
    `on_frame` must reject the frames that it still delivers. A source with an end is read from
    when `ready` is set: else its first frames would be lost.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Source],
        on_frame: Callable[[CaptureSession, Source, FrameTime], None],
        *,
        metrics: Metrics,
        ready: threading.Event,
        now: Callable[[], float],
    ) -> None:
        self.started_at = self.newest_at = now()  # monotonic seconds; of the newest frame
        self.finite: bool | None = None  # unknown until the source is open
        self.ended = False
        self.error = ""  # why it ended, if that was unexpected
        self.is_permanent = False  # the error will not go away
        self.wakeup = threading.Event()  # it ended, or a stop was requested
        self.stop_requested_at = math.inf  # monotonic seconds
        self.hangs = False  # set by the camera: its read should have returned by now
        self._opener, self._on_frame, self._now = opener, on_frame, now
        self._ready = ready
        self.thread = ServiceThread(f"capture {name}", self._read, metrics=metrics, camera=name)

    def request_stop(self) -> None:
        self.stop_requested_at = self._now()
        self.thread.request_stop()
        self.wakeup.set()

    @property
    def has_frames(self) -> bool:
        return self.newest_at > self.started_at

    def _read(self) -> None:
        stop = self.thread.stopping
        try:
            with contextlib.closing(self._opener()) as source:
                self.finite = source.finite
                if source.finite:
                    self._ready.wait()
                while not stop.is_set():
                    moment = source.grab(stop)
                    if moment is None:
                        break
                    self.newest_at = self._now()
                    self._on_frame(self, source, moment)
        except SourceError as error:
            self.error, self.is_permanent = str(error), isinstance(error, PermanentSourceError)
        except Exception as error:
            self.error = f"capture crashed: {type(error).__name__}: {error}"
            raise
        finally:
            self.ended = True
            self.wakeup.set()
