"""Predictions -> events: smoothing, hysteresis and minimum duration. Pure; update() and flush()."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream.config import EventsConfig
from stream.messages import Event, Prediction


@dataclass(slots=True)
class _Run:
    """A label that has been above its threshold since `start_s`."""

    start_s: float
    latest_s: float
    peak: float
    total: float
    count: int
    announced: bool = False


class Detector:
    """Turns the predictions of one camera into events; at most one open event for each label.

    A window speaks of its middle, so that is the time of a prediction. Exponential smoothing
    crosses a threshold late by a known time, which is taken off starts and ends again.
    """

    def __init__(
        self,
        camera: str,
        config: EventsConfig,
        background: frozenset[str],
        *,
        gap_s: float = 5.0,
    ) -> None:
        self._camera = camera
        self._gap_s = gap_s  # after so long without predictions nobody knows whether it goes on
        self._config = config
        self._background = background
        self._smoothed: np.ndarray | None = None
        self._latest_s: float | None = None
        self._runs: dict[str, _Run] = {}
        self._policies: dict[str, EventsConfig] = {}

    def update(self, prediction: Prediction) -> list[Event]:
        """The events that this prediction opens (`end_s` is None) or closes.

        An event that was opened is closed by a later one with the same label and start.
        """
        at_s = prediction.middle_s
        if self._latest_s is not None and at_s <= self._latest_s:
            return []  # an answer that was overtaken
        changed: list[Event] = []
        if self._latest_s is not None and at_s - self._latest_s > self._gap_s:
            changed += self.flush("gap")
        self._smoothed = self._smooth(prediction.probabilities, at_s)
        self._latest_s = at_s
        for label, value in zip(prediction.labels, self._smoothed.tolist(), strict=True):
            if label not in self._background:
                changed += self._follow(label, value, at_s)
        return changed

    def flush(self, closed_by: str = "") -> list[Event]:
        """Close all that is open, because no more predictions will come."""
        closed = [
            self._event(label, run, run.latest_s, closed_by)
            for label, run in self._runs.items()
            if run.announced
        ]
        self._runs.clear()
        self._smoothed = self._latest_s = None
        return closed

    def open(self) -> list[Event]:
        """The events that are open now, with how far they have come."""
        return [self._event(label, run, None) for label, run in self._runs.items() if run.announced]

    def _smooth(self, probabilities: np.ndarray, at_s: float) -> np.ndarray:
        if self._smoothed is None or self._latest_s is None or self._config.smoothing == 0:
            return probabilities.astype(np.float64)
        keep = math.exp(-(at_s - self._latest_s) / self._config.smoothing)
        return keep * self._smoothed + (1 - keep) * probabilities

    def _follow(self, label: str, value: float, at_s: float) -> list[Event]:
        policy = self._policies.get(label)
        if policy is None:
            policy = self._policies[label] = self._config.policy(label)
        run = self._runs.get(label)
        if run is None:
            if value < policy.enter:
                return []
            start_s = at_s - self._lag(1 - policy.enter)
            run = self._runs[label] = _Run(max(0.0, start_s), at_s, value, 0.0, 0)
        if value >= policy.leave:
            run.latest_s = at_s
            run.peak = max(run.peak, value)
            run.total += value
            run.count += 1
            # Until it has lasted long enough nobody hears of it.
            if not run.announced and at_s - run.start_s >= policy.minimum:
                run.announced = True
                return [self._event(label, run, None)]
            return []
        del self._runs[label]
        if not run.announced:
            return []
        end_s = max(run.start_s + policy.minimum, at_s - self._lag(policy.leave))
        return [self._event(label, run, end_s)]

    def _lag(self, left: float) -> float:
        """Seconds until the smoothing of a step from 0 to 1 has `left` still to go."""
        return self._config.smoothing * math.log(1 / max(left, 0.05))

    def _event(self, label: str, run: _Run, end_s: float | None, closed_by: str = "") -> Event:
        mean = run.total / max(1, run.count)
        return Event(
            self._camera, label, run.start_s, run.latest_s, end_s, run.peak, mean, closed_by
        )
