"""Predictions -> events: smoothing, hysteresis, merging. Pure: no thread, no clock."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream.config.events import UNKNOWN, EventsConfig
from stream.messages import Event, Prediction

_NEVER = math.inf
_NAMESPACE = uuid.UUID("0b1b5d3e-6d5c-4f0e-9d4b-7e6f0a4f9c55")  # for deterministic event ids


def deterministic_ids(key: str) -> Callable[[str, float], str]:
    """Reproducible event ids: a hash of `key` (the identity of the source), label and start."""
    return lambda label, start_s: uuid.uuid5(_NAMESPACE, f"{key} {label} {start_s:.3f}").hex


def random_id(label: str, start_s: float) -> str:
    """A globally unique event id."""
    return uuid.uuid4().hex


@dataclass(slots=True)
class _Activation:
    """A label above its threshold since `since_s`; the action started at `start_s`."""

    index: int  # of the label
    start_s: float
    since_s: float
    latest_s: float
    peak: float
    peak_s: float
    total: float = 0.0
    count: int = 0
    id: str = ""  # set once it lasts long enough to be an event
    detected_s: float = 0.0
    ended_s: float | None = None  # its end, unless it resumes within the merge gap


class Detector:
    """Turns the predictions of one camera into events; at most one open event per label.

    The time of a prediction is the middle of its window. Exponential smoothing crosses a threshold
    late by a known delay, which is subtracted from starts and ends.
    `new_id` maps a label and a start to an event id.
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
        self._gap_s = gap_s  # a longer gap between predictions closes open events
        self._config = config
        self._background = background
        self._new_id = new_id
        self._labels: tuple[str, ...] = ()
        self._thresholds = np.empty(0)  # (labels,), infinite for labels without events
        self._policies: list[EventsConfig] = []
        self._smoothed: np.ndarray | None = None  # (labels,)
        self._latest_s: float | None = None
        self._seen_s = 0.0  # the end of the latest window
        self._is_first = True  # no window before, or none since a gap
        self._first_start_s = 0.0  # start of the first window after a gap
        self._active: dict[int, _Activation] = {}  # by label index
        self._last_end_s: dict[int, float] = {}  # end of the latest event, by label index

    def update(self, prediction: Prediction) -> list[Event]:
        """The events that this prediction opens (`end_s` is None) or closes.

        An event is closed `merge_gap` after its end, because until then it may resume. The closed
        event has the id of the opened one.
        """
        at_s = prediction.middle_s
        if self._latest_s is not None and at_s <= self._latest_s:
            return []  # out of order
        changed: list[Event] = []
        if self._latest_s is not None and at_s - self._latest_s > self._gap_s:
            changed += self.flush("gap")
        if not self._labels:
            self._configure((*prediction.labels, UNKNOWN))
        self._is_first = self._smoothed is None
        if self._is_first:
            self._first_start_s = prediction.start_s
            # Ends in the future belong to another clock: the camera was removed and added again.
            now_s = prediction.end_s
            self._last_end_s = {index: at for index, at in self._last_end_s.items() if at <= now_s}
        self._smoothed = self._smooth(self._with_unknown(prediction.probabilities), at_s)
        self._latest_s, self._seen_s = at_s, prediction.end_s
        # Only a few of many labels are above their thresholds at a time.
        above = np.flatnonzero(self._smoothed >= self._thresholds).tolist()
        for index in sorted({*self._active, *above}):
            changed += self._update_label(index, float(self._smoothed[index]), prediction)
        return changed

    def flush(self, closed_by: str = "") -> list[Event]:
        """Close all open events, because their further course is unknown.

        Events that have not ended yet end with the last window, with the reason `closed_by`.
        """
        closed = []
        for active in list(self._active.values()):
            if active.id:
                closed += self._end_early(active, closed_by)
        self._active.clear()
        self._smoothed = self._latest_s = None
        return closed

    def update_config(self, config: EventsConfig) -> list[Event]:
        """Continue with other thresholds, also for open events.

        Returns the events that are closed because their labels no longer have events.
        """
        self._config = config
        if not self._labels:
            return []
        self._configure(self._labels)
        closed = []
        for index, active in list(self._active.items()):
            if self._thresholds[index] == _NEVER:
                closed += self._end_early(active, "stop") if active.id else []
                self._active.pop(index, None)
        return closed

    def open(self) -> list[Event]:
        """The open events, updated to the latest prediction."""
        return [
            self._event(active, None)
            for active in self._active.values()
            if active.id and active.ended_s is None
        ]

    def _configure(self, labels: tuple[str, ...]) -> None:
        """Set the thresholds of `labels`, which end with UNKNOWN."""
        config = self._config
        excluded = self._background | config.exclude
        included = config.include if config.include is not None else frozenset(labels)
        included |= {UNKNOWN}  # enabled by `unknown_below` alone
        self._labels = labels
        self._policies = [config.policy(label) for label in labels]
        self._thresholds = np.array(
            [
                policy.threshold if label in included and label not in excluded else _NEVER
                for label, policy in zip(labels, self._policies, strict=True)
            ]
        )
        if config.unknown_below is None:
            self._thresholds[-1] = _NEVER

    def _with_unknown(self, probabilities: np.ndarray) -> np.ndarray:
        """The probabilities with UNKNOWN appended, 0 or 1: float64, (labels,)."""
        values = probabilities.astype(np.float64)
        below = self._config.unknown_below
        return np.append(values, float(below is not None and values.max() < below))

    def _smooth(self, probabilities: np.ndarray, at_s: float) -> np.ndarray:
        if self._smoothed is None or self._latest_s is None or self._config.smoothing == 0:
            return probabilities
        keep = math.exp(-(at_s - self._latest_s) / self._config.smoothing)
        return keep * self._smoothed + (1 - keep) * probabilities

    def _update_label(self, index: int, value: float, prediction: Prediction) -> list[Event]:
        policy, active = self._policies[index], self._active.get(index)
        is_above, at_s = value >= float(self._thresholds[index]), prediction.middle_s
        lag_s = 0.0 if self._is_first else self._lag(1 - policy.threshold)
        since_s = at_s - lag_s  # of a crossing at this window
        # An action in the first window starts with it: there is no data before.
        start_s = self._first_start_s if self._is_first else max(self._first_start_s, since_s)
        changed: list[Event] = []
        ended_s = active.ended_s if active is not None else None
        if active is not None and ended_s is not None and start_s > ended_s + policy.merge_gap:
            changed, active = self._close(active, ended_s), None
        if active is None:
            free_s = self._last_end_s.get(index, -policy.cooldown) + policy.cooldown
            if not is_above or (policy.cooldown and start_s < free_s):
                return changed
            active = _Activation(index, max(start_s, free_s), since_s, at_s, value, at_s)
            self._active[index] = active
        elif active.ended_s is not None:
            if not is_above:
                return changed
            active.ended_s = None
        if value >= policy.release_threshold:
            return changed + self._extend(active, value, at_s, prediction.end_s)
        return changed + self._release(active, at_s)

    def _extend(self, active: _Activation, value: float, at_s: float, now_s: float) -> list[Event]:
        active.latest_s = at_s
        active.total += value
        active.count += 1
        if value > active.peak:
            active.peak, active.peak_s = value, at_s
        # An event is reported once it has lasted min_duration.
        if active.id or at_s - active.since_s < self._policies[active.index].min_duration:
            return []
        active.id = self._new_id(self._labels[active.index], active.start_s)
        active.detected_s = now_s
        return [self._event(active, None)]

    def _release(self, active: _Activation, at_s: float) -> list[Event]:
        policy = self._policies[active.index]
        if not active.id:  # too short, and never reported
            del self._active[active.index]
            return []
        active.ended_s = max(
            active.start_s + policy.min_duration, at_s - self._lag(policy.release_threshold)
        )
        return [] if policy.merge_gap else self._close(active, active.ended_s)

    def _end_early(self, active: _Activation, closed_by: str) -> list[Event]:
        """Close an event whose further course is unknown."""
        if active.ended_s is not None:
            return self._close(active, active.ended_s)
        # It lasts to the end of the last window, as far as known.
        return self._close(active, max(active.latest_s, self._seen_s), closed_by)

    def _close(self, active: _Activation, end_s: float, closed_by: str = "") -> list[Event]:
        del self._active[active.index]
        self._last_end_s[active.index] = end_s
        return [self._event(active, end_s, closed_by)]

    def _lag(self, left: float) -> float:
        """Seconds until a smoothed step from 0 to 1 is at a distance of `left` from 1."""
        return self._config.smoothing * math.log(1 / max(left, 0.05))

    def _event(self, active: _Activation, end_s: float | None, closed_by: str = "") -> Event:
        return Event(
            id=active.id,
            camera=self._camera,
            label=self._labels[active.index],
            start_s=active.start_s,
            latest_s=active.latest_s,
            end_s=end_s,
            detected_s=active.detected_s,
            peak=active.peak,
            peak_s=active.peak_s,
            mean=active.total / max(1, active.count),
            closed_by=closed_by,
        )
