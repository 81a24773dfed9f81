"""Guests: who may come in, and how many at a time.

Nothing of them is logged or kept, and when one leaves nothing of it stays. Owns no thread.
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
from stream.scheduling.window_state import GUEST, Watched
from stream.sessions.session import Guest


class GuestsFullError(Exception):
    """There are as many guests as there may be; the message is one line for a person."""


class NotReadyError(Exception):
    """No guest can be admitted yet, or any more; the message is one line for a person."""


class Guests:
    """Those who were admitted, `most` at a time; 0 admits none.

    `serve` lets the scheduler cut windows of a guest, by its name, until `dismiss`.
    """

    def __init__(
        self,
        most: int,
        policy: EventsConfig,
        metrics: Metrics,
        *,
        serve: Callable[[str, Watched], None],
        dismiss: Callable[[str], None],
        on_frame: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._policy, self._metrics = most, policy, metrics
        self._serve, self._dismiss, self._on_frame = serve, dismiss, on_frame
        self._now = now
        self._lock = threading.Lock()  # of all below
        self._spec: ClipSpec | None = None
        self._gap_s = math.inf
        self._over = False
        self._number = 0
        self._here: dict[str, Guest] = {}

    @contextmanager
    def admit(self) -> Iterator[Guest]:
        """A guest, until the end of the `with`. Does not wait for anything.

        Raises GuestsFullError, or NotReadyError while no model is known.
        """
        guest = self._enter()
        try:
            self._serve(guest.name, guest)
            yield guest
        finally:
            self._dismiss(guest.name)
            with self._lock:
                self._here.pop(guest.name, None)
            guest.leave()

    def __len__(self) -> int:
        """How many are here."""
        return len(self._here)

    def expect(self, spec: ClipSpec, gap_s: float) -> None:
        """What predictions will mean, and for how long they may be missing."""
        with self._lock:
            self._spec, self._gap_s = spec, gap_s

    def heed(self, most: int, policy: EventsConfig) -> None:
        """From now on so many, and other thresholds for all; those who are here may stay."""
        with self._lock:
            self._most, self._policy = most, policy
            here = list(self._here.values())
        for guest in here:
            guest.heed(policy)

    def take(self, prediction: Prediction) -> bool:
        """An answer; False where it is none of a guest. On the scheduler's thread."""
        guest = self._here.get(prediction.camera)
        if guest is not None:
            guest.take(prediction)
        return guest is not None

    def tell_stop(self) -> None:
        """Admit nobody any more."""
        with self._lock:
            self._over = True

    def _enter(self) -> Guest:
        with self._lock:
            if self._most == 0:
                raise GuestsFullError("visitors are turned off: dashboard.visitors.most is 0")
            if self._over:
                raise NotReadyError("the watch is ending")
            if self._spec is None:
                raise NotReadyError("the model is not ready yet; try again in a moment")
            if len(self._here) >= self._most:
                self._metrics.count("refused_guests")
                raise GuestsFullError(
                    f"{self._most} visitors are here already, and more may not be; try again later"
                )
            self._number += 1
            guest = Guest(
                f"{GUEST}:{self._number}",  # no camera's name has a colon
                self._spec,
                self._policy,
                self._metrics,
                gap_s=self._gap_s,
                on_frame=self._on_frame,
                now=self._now,
            )
            self._here[guest.name] = guest
            self._metrics.count("guests")
            return guest
