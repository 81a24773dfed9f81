"""Which events an alert is told of: by camera, label, and how long ago the last one was; pure."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from stream.config.events import AlertConfig
from stream.messages import LoggedEvent

_MOST_SUPPRESSED = 10_000  # events whose start was not told, so that neither is their end


class AlertFilter:
    """Which events an alert is told of."""

    def __init__(self, config: AlertConfig) -> None:
        self._config = config
        # Where starts are told, an event is let through or not at its start; else at its end.
        self._first = "start" if "start" in config.when else "end"
        self._told_at: dict[tuple[str, str], datetime] = {}
        self._suppressed: OrderedDict[str, None] = OrderedDict()

    def concerns(self, camera: str, label: str) -> bool:
        """Whether its camera (a camera means its zones too) and label are wanted at all."""
        cameras, labels = self._config.cameras, self._config.labels
        has_camera = cameras is None or camera in cameras or camera.split("/")[0] in cameras
        return has_camera and (labels is None or label in labels)

    def wants(self, logged: LoggedEvent) -> bool:
        """Whether this is told. Ask once for each start and end: it counts for the cool-down."""
        event, change = logged.event, logged.change
        if not self.concerns(event.camera, event.label):
            return False
        if change == self._first and self._is_too_early(logged):
            if change == "start":
                self._suppressed[event.id] = None
                if len(self._suppressed) > _MOST_SUPPRESSED:
                    self._suppressed.popitem(last=False)
            return False
        if change == "end" and event.id in self._suppressed:
            del self._suppressed[event.id]
            return False
        return change in self._config.when

    def _is_too_early(self, logged: LoggedEvent) -> bool:
        event = logged.event
        moment = logged.utc(event.start_s)
        if logged.change == "end" and event.end_s is not None:
            moment = logged.utc(event.end_s)
        before = self._told_at.get((event.camera, event.label))
        # Before the last one: the clock was set back, or it is another film.
        if before and 0 <= (moment - before).total_seconds() < self._config.cool_down:
            return True
        self._told_at[event.camera, event.label] = moment
        return False
