"""Predictions -> events: smoothing, hysteresis, merging. Pure; update() and flush()."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream.config.events import UNKNOWN, EventsConfig
from stream.messages import Event, Prediction

_NEVER = math.inf
_SPACE = uuid.UUID("0b1b5d3e-6d5c-4f0e-9d4b-7e6f0a4f9c55")  # of ids that are made of what they name


def ids_named_after(key: str) -> Callable[[str, float], str]:
    """For a Detector whose events are to have the same ids each time: made of `key`, which tells
    apart where they come from, of their label, and of their start."""
    return lambda label, start_s: uuid.uuid5(_SPACE, f"{key} {label} {start_s:.3f}").hex


def random_id(label: str, start_s: float) -> str:
    """An id that no other event has, on any machine."""
    return uuid.uuid4().hex


@dataclass(slots=True)
class _Run:
    """A label that came above its threshold at `since_s`, for what began at `start_s`."""

    start_s: float
    since_s: float
    latest_s: float
    peak: float
    peak_s: float
    total: float = 0.0
    count: int = 0
    id: str = ""  # from when it has lasted long enough to be an event
    detected_s: float = 0.0
    ended_s: float | None = None  # it is over, unless it goes on again within the merge gap


class Detector:
    """Turns the predictions of one camera into events; at most one open event for each label.

    A window speaks of its middle, so that is the time of a prediction. Exponential smoothing
    crosses a threshold late by a known time, which is taken off starts and ends again.
    `new_id` names an event by its label and start.
    """

    def __init__(
        self,
        camera: str,
        config: EventsConfig,
        background: frozenset[str],
        *,
        gap_s: float = 5.0,
        new_id: Callable[[str, float], str] = random_id,
    ) -> None:
        self._camera = camera
        self._gap_s = gap_s  # after so long without predictions nobody knows whether it goes on
        self._config = config
        self._background = background
        self._new_id = new_id
        self._labels: tuple[str, ...] = ()
        self._enter = np.empty(0)  # (labels,)
        self._policies: list[EventsConfig] = []
        self._smoothed: np.ndarray | None = None  # (labels,)
        self._latest_s: float | None = None
        self._seen_s = 0.0  # the end of the latest window
        self._is_fresh = True  # nothing was smoothed yet
        self._begin_s = 0.0  # of the first window, since nothing was smoothed
        self._runs: dict[int, _Run] = {}  # by the label's place
        self._over_s: dict[int, float] = {}  # ends of the latest events

    def update(self, prediction: Prediction) -> list[Event]:
        """The events that this prediction opens (`end_s` is None) or closes.

        An event that was opened is closed by a later one with the same id: `merge_gap` after its
        end, because until then it may go on again.
        """
        at_s = prediction.middle_s
        if self._latest_s is not None and at_s <= self._latest_s:
            return []  # an answer that was overtaken
        changed: list[Event] = []
        if self._latest_s is not None and at_s - self._latest_s > self._gap_s:
            changed += self.flush("gap")
        if not self._labels:
            self._set_up((*prediction.labels, UNKNOWN))
        self._is_fresh = self._smoothed is None
        if self._is_fresh:
            self._begin_s = prediction.start_s
            # Ends that are to come yet are of another clock: a camera that came again.
            now_s = prediction.end_s
            self._over_s = {place: at for place, at in self._over_s.items() if at <= now_s}
        self._smoothed = self._smooth(self._shares(prediction.probabilities), at_s)
        self._latest_s, self._seen_s = at_s, prediction.end_s
        # Few labels of many are above their thresholds at any time.
        for place in sorted({*self._runs, *np.flatnonzero(self._smoothed >= self._enter).tolist()}):
            value = float(self._smoothed[place])
            changed += self._follow(place, value, prediction)
        return changed

    def flush(self, closed_by: str = "") -> list[Event]:
        """Close all that is open, because nobody knows how it goes on.

        What goes on ends with the last window, and says so by `closed_by`.
        """
        closed = []
        for place, run in list(self._runs.items()):
            if run.id:
                closed += self._end(place, run, closed_by)
        self._runs.clear()
        self._smoothed = self._latest_s = None
        return closed

    def heed(self, config: EventsConfig) -> list[Event]:
        """Go on with other thresholds; what is open goes on under them.

        Returns the events that are closed, because their labels make no events any more.
        """
        self._config = config
        if not self._labels:
            return []
        self._set_up(self._labels)
        closed = []
        for place, run in list(self._runs.items()):
            if self._enter[place] == _NEVER:
                closed += self._end(place, run, "stop") if run.id else []
                self._runs.pop(place, None)
        return closed

    def open(self) -> list[Event]:
        """The events that go on now, with how far they have come."""
        return [
            self._event(place, run, None)
            for place, run in self._runs.items()
            if run.id and run.ended_s is None
        ]

    def _set_up(self, labels: tuple[str, ...]) -> None:
        """`labels` with that of nothing being sure, whether it is asked for or not."""
        config = self._config
        silent = self._background | config.ignore
        watched = config.watch if config.watch is not None else frozenset(labels)
        watched |= {UNKNOWN}  # whoever asks for it wants it
        self._labels = labels
        self._policies = [config.policy(label) for label in labels]
        self._enter = np.array(
            [
                policy.enter if label in watched and label not in silent else _NEVER
                for label, policy in zip(labels, self._policies, strict=True)
            ]
        )
        if config.unknown is None:
            self._enter[-1] = _NEVER

    def _shares(self, probabilities: np.ndarray) -> np.ndarray:
        """With that of nothing being sure: (labels,)."""
        shares = probabilities.astype(np.float64)
        unsure = self._config.unknown is not None and shares.max() < self._config.unknown
        return np.append(shares, float(unsure))

    def _smooth(self, shares: np.ndarray, at_s: float) -> np.ndarray:
        if self._smoothed is None or self._latest_s is None or self._config.smoothing == 0:
            return shares
        keep = math.exp(-(at_s - self._latest_s) / self._config.smoothing)
        return keep * self._smoothed + (1 - keep) * shares

    def _follow(self, place: int, value: float, prediction: Prediction) -> list[Event]:
        policy, run = self._policies[place], self._runs.get(place)
        enters, at_s = value >= float(self._enter[place]), prediction.middle_s
        since_s = at_s if self._is_fresh else at_s - self._lag(1 - policy.enter)  # if it enters
        # What fills the first window of all began with it at the latest; before it nobody looked.
        began_s = self._begin_s if self._is_fresh else max(self._begin_s, since_s)
        changed: list[Event] = []
        if run is not None and run.ended_s is not None and began_s > run.ended_s + policy.merge_gap:
            changed, run = self._close(place, run, run.ended_s), None
        if run is None:
            free_s = self._over_s.get(place, -policy.cool_down) + policy.cool_down
            if not enters or (policy.cool_down and began_s < free_s):
                return changed
            run = self._runs[place] = _Run(max(began_s, free_s), since_s, at_s, value, at_s)
        elif run.ended_s is not None:
            if not enters:
                return changed
            run.ended_s = None
        if value >= policy.leave:
            return changed + self._go_on(place, run, value, at_s, prediction.end_s)
        return changed + self._leave(place, run, at_s)

    def _go_on(self, place: int, run: _Run, value: float, at_s: float, now_s: float) -> list[Event]:
        run.latest_s = at_s
        run.total += value
        run.count += 1
        if value > run.peak:
            run.peak, run.peak_s = value, at_s
        # Until it has lasted long enough nobody hears of it.
        if run.id or at_s - run.since_s < self._policies[place].minimum:
            return []
        run.id = self._new_id(self._labels[place], run.start_s)
        run.detected_s = now_s
        return [self._event(place, run, None)]

    def _leave(self, place: int, run: _Run, at_s: float) -> list[Event]:
        policy = self._policies[place]
        if not run.id:  # too short: nobody has heard of it
            del self._runs[place]
            return []
        run.ended_s = max(run.start_s + policy.minimum, at_s - self._lag(policy.leave))
        return [] if policy.merge_gap else self._close(place, run, run.ended_s)

    def _end(self, place: int, run: _Run, closed_by: str) -> list[Event]:
        """Close an event that nobody looks at any more."""
        if run.ended_s is not None:
            return self._close(place, run, run.ended_s)
        # It filled the last window to its end, as far as anybody knows.
        return self._close(place, run, max(run.latest_s, self._seen_s), closed_by)

    def _close(self, place: int, run: _Run, end_s: float, closed_by: str = "") -> list[Event]:
        del self._runs[place]
        self._over_s[place] = end_s
        return [self._event(place, run, end_s, closed_by)]

    def _lag(self, left: float) -> float:
        """Seconds until the smoothing of a step from 0 to 1 has `left` still to go."""
        return self._config.smoothing * math.log(1 / max(left, 0.05))

    def _event(self, place: int, run: _Run, end_s: float | None, closed_by: str = "") -> Event:
        return Event(
            id=run.id,
            camera=self._camera,
            label=self._labels[place],
            start_s=run.start_s,
            latest_s=run.latest_s,
            end_s=end_s,
            detected_s=run.detected_s,
            peak=run.peak,
            peak_s=run.peak_s,
            mean=run.total / max(1, run.count),
            closed_by=closed_by,
        )
