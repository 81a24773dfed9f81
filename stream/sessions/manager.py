"""Opens browser sessions and limits their number. Owns no thread.

No frame or prediction of a session is logged or stored.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream.config.events import EventsConfig
from stream.messages import ClipSpec, Prediction
from stream.runtime.metrics import Metrics
from stream.scheduling.scheduler import Scheduler
from stream.scheduling.window_state import BROWSER_SESSION
from stream.sessions.session import BrowserSession


class SessionLimitError(Exception):
    """The maximum number of sessions is open; the message is one line for the user."""


class ModelNotReadyError(Exception):
    """No model is loaded yet, or the run is ending; the message is one line for the user."""


class SessionManager:
    """The open browser sessions, at most `max_sessions`; 0 disables them."""

    def __init__(
        self,
        max_sessions: int,
        policy: EventsConfig,
        metrics: Metrics,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_sessions, self._policy, self._metrics = max_sessions, policy, metrics
        self._now = now
        self._lock = threading.Lock()  # guards the fields below
        self._spec: ClipSpec | None = None
        self._scheduler: Scheduler | None = None  # known with the model
        self._gap_s = math.inf
        self._stopping = False
        self._number = 0
        self._sessions: dict[str, BrowserSession] = {}

    @contextmanager
    def open(self) -> Iterator[BrowserSession]:
        """A session until the end of the `with`. Does not wait.

        Raises SessionLimitError, or ModelNotReadyError while no model is loaded.
        """
        session, scheduler = self._create()
        try:
            scheduler.add(session.name, session, is_browser_session=True)
            yield session
        finally:
            scheduler.remove(session.name)
            with self._lock:
                self._sessions.pop(session.name, None)
            session.close()

    def __len__(self) -> int:
        """The number of open sessions."""
        return len(self._sessions)

    def on_model(self, spec: ClipSpec, gap_s: float, scheduler: Scheduler) -> None:
        """The model is known: from now on sessions can be opened, and `scheduler` serves them.

        `gap_s` is the gap between predictions that closes events, in seconds.
        """
        with self._lock:
            self._spec, self._gap_s, self._scheduler = spec, gap_s, scheduler

    def update_config(self, max_sessions: int, policy: EventsConfig) -> None:
        """Set the limit and the thresholds from now on; open sessions stay open."""
        with self._lock:
            self._max_sessions, self._policy = max_sessions, policy
            sessions = list(self._sessions.values())
        for session in sessions:
            session.update_config(policy)

    def on_prediction(self, prediction: Prediction) -> bool:
        """Deliver a prediction; False if it is not of a session. On the scheduler's thread."""
        session = self._sessions.get(prediction.camera)
        if session is not None:
            session.on_prediction(prediction)
        return session is not None

    def request_stop(self) -> None:
        """Open no more sessions."""
        with self._lock:
            self._stopping = True

    def _create(self) -> tuple[BrowserSession, Scheduler]:
        with self._lock:
            if self._max_sessions == 0:
                raise SessionLimitError(
                    "browser sessions are disabled: dashboard.try_it.max_sessions is 0"
                )
            if self._stopping:
                raise ModelNotReadyError("the run is ending")
            if self._spec is None or self._scheduler is None:
                raise ModelNotReadyError("the model is not ready yet; try again in a moment")
            if len(self._sessions) >= self._max_sessions:
                self._metrics.count("rejected_sessions")
                raise SessionLimitError(
                    f"session limit reached ({self._max_sessions}); try again later"
                )
            self._number += 1
            session = BrowserSession(
                f"{BROWSER_SESSION}:{self._number}",  # no camera's name has a colon
                self._spec,
                self._policy,
                self._metrics,
                gap_s=self._gap_s,
                on_frame=self._scheduler.wake,
                now=self._now,
            )
            self._sessions[session.name] = session
            self._metrics.count("sessions")
            return session, self._scheduler
