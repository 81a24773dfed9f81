"""Which events an alert sends: by camera, label and cooldown; pure."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from stream.config.events import AlertConfig
from stream.messages import LoggedEvent

_MAX_SUPPRESSED = 10_000  # events whose start was suppressed, so that their end is too


class AlertFilter:
    """Selects the event updates that an alert sends."""

    def __init__(self, config: AlertConfig) -> None:
        self._config = config
        # The cooldown decides at the start of an event if starts are sent, else at its end.
        self._first_change = "start" if "start" in config.notify_on else "end"
        self._sent_at: dict[tuple[str, str], datetime] = {}
        self._suppressed: OrderedDict[str, None] = OrderedDict()  # event ids

    def matches(self, camera: str, label: str) -> bool:
        """Whether the alert includes this camera and label; a camera includes its zones."""
        cameras, labels = self._config.cameras, self._config.labels
        has_camera = cameras is None or camera in cameras or camera.split("/")[0] in cameras
        return has_camera and (labels is None or label in labels)

    def should_send(self, logged: LoggedEvent) -> bool:
        """Whether to send this update. Call it once per start and end: it updates the cooldown."""
        event, change = logged.event, logged.change
        if not self.matches(event.camera, event.label):
            return False
        if change == self._first_change and self._is_in_cooldown(logged):
            if change == "start":
                self._suppressed[event.id] = None
                if len(self._suppressed) > _MAX_SUPPRESSED:
                    self._suppressed.popitem(last=False)
            return False
        if change == "end" and event.id in self._suppressed:
            del self._suppressed[event.id]
            return False
        return change in self._config.notify_on

    def _is_in_cooldown(self, logged: LoggedEvent) -> bool:
        event = logged.event
        moment = logged.utc(event.start_s)
        if logged.change == "end" and event.end_s is not None:
            moment = logged.utc(event.end_s)
        previous = self._sent_at.get((event.camera, event.label))
        # Earlier than the previous one: the clock was set back, or it is another video.
        if previous and 0 <= (moment - previous).total_seconds() < self._config.cooldown:
            return True
        self._sent_at[event.camera, event.label] = moment
        return False
