"""A capture session: one connection to a source. Its thread opens, reads and closes the source."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from stream.messages import FrameTime
from stream.sources.base import Source
from stream.sources.opencv_capture import SourceError

_log = logging.getLogger(__name__)


class CaptureSession:
    """Reads a source until it ends, fails, or a stop is requested.

    A read may block forever in code that can't be interrupted. So the supervisor waits for
    `wakeup`, checks `newest_at`, and requests a stop. The thread may return late or never;
    `on_frame` must reject the frames that it still delivers.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Source],
        on_frame: Callable[[CaptureSession, Source, FrameTime], None],
        *,
        now: Callable[[], float],
    ) -> None:
        self.started_at = self.newest_at = now()  # monotonic seconds; of the newest frame
        self.finite: bool | None = None  # unknown until the source is open
        self.ended = False
        self.error = ""  # why it ended, if that was unexpected
        self.wakeup = threading.Event()  # it ended, or a stop was requested
        self.stop_requested_at: float | None = None
        self._opener, self._on_frame, self._now = opener, on_frame, now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        self.stop_requested_at = self._now()
        self._stop.set()
        self.wakeup.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the thread ends; False on timeout."""
        if self._thread.ident is not None:  # it may not be started yet
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def has_frames(self) -> bool:
        return self.newest_at > self.started_at

    def _run(self) -> None:
        try:
            with contextlib.closing(self._opener()) as source:
                self.finite = source.finite
                while not self._stop.is_set():
                    moment = source.grab(self._stop)
                    if moment is None:
                        break
                    self.newest_at = self._now()
                    self._on_frame(self, source, moment)
        except SourceError as error:
            self.error = str(error)
        except Exception as error:  # the supervisor must learn that the thread crashed
            _log.exception("%s crashed", threading.current_thread().name)
            self.error = f"capture crashed: {type(error).__name__}: {error}"
        self.ended = True
        self.wakeup.set()
