"""One opening of a source. Its thread opens it, reads until it ends, and closes it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from stream.messages import Moment
from stream.sources.base import Source
from stream.sources.opencv_capture import SourceError

_log = logging.getLogger(__name__)


class Reading:
    """Reads a source until it ends, breaks, or is given up.

    A read may hang for ever in code that nobody can stop: so whoever minds this waits for `news`,
    looks at `newest_at`, and gives it up. Then the thread may come back late or never; what it
    still brings is for `take` to refuse.
    """

    def __init__(
        self,
        name: str,
        opening: Callable[[], Source],
        take: Callable[[Reading, Source, Moment], None],
        *,
        now: Callable[[], float],
    ) -> None:
        self.began_at = self.newest_at = now()  # monotonic seconds; of the newest new picture
        self.finite: bool | None = None  # unknown until it is open
        self.over = False
        self.error = ""  # why it ended, if it should not have
        self.news = threading.Event()  # it is over, or was given up
        self.given_up_at: float | None = None
        self._opening, self._take, self._now = opening, take, now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def give_up(self) -> None:
        self.given_up_at = self._now()
        self._stop.set()
        self.news.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False where it did not come in time."""
        if self._thread.ident is not None:  # it may be made, and not started yet
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def brought_something(self) -> bool:
        return self.newest_at > self.began_at

    def _run(self) -> None:
        try:
            with contextlib.closing(self._opening()) as source:
                self.finite = source.finite
                while not self._stop.is_set():
                    moment = source.grab(self._stop)
                    if moment is None:
                        break
                    self.newest_at = self._now()
                    self._take(self, source, moment)
        except SourceError as error:
            self.error = str(error)
        except Exception as error:  # the thread's own death is news, not silence
            _log.exception("%s died", threading.current_thread().name)
            self.error = f"capture died: {type(error).__name__}: {error}"
        self.over = True
        self.news.set()
