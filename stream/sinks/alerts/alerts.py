"""All alerts of a run. Owns no thread itself; each alert's dispatcher has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stream.capture.camera import Camera
from stream.config.events import AlertConfig
from stream.messages import ClipSpec, LoggedEvent
from stream.runtime.metrics import Metrics
from stream.runtime.secrets import SecretError
from stream.sinks.alerts.dispatcher import AlertDispatcher
from stream.sinks.alerts.filter import AlertFilter
from stream.sinks.alerts.mqtt import MqttSender
from stream.sinks.alerts.outbox import Outbox
from stream.sinks.alerts.sender import AlertError, AlertSender
from stream.sinks.alerts.webhook import WebhookSender
from stream.sinks.base import SINKS, EventSink, SinkContext

FOLDER = "alerts"


class Alerts(EventSink):
    """All alerts of a run. Queued alerts stay on disk until they are delivered.

    Raises AlertError, in one line, for an alert that can't work: a missing secret, an invalid
    address, an extra that is not installed.
    """

    name = "alerts"
    min_stop_s = 1.0  # for a last delivery

    def __init__(
        self,
        configs: Mapping[str, AlertConfig],
        folder: Path,
        metrics: Metrics,
        *,
        first_delay_s: float = 1.0,
        max_queued: int = 10_000,
    ) -> None:
        self._labels: tuple[str, ...] = ()  # of the model, without background
        folder = folder / FOLDER
        senders = {  # all of them, before the first outbox creates a file
            name: make_sender(name, config, folder, first_delay_s=first_delay_s)
            for name, config in configs.items()
        }
        self.services = self._dispatchers = [
            AlertDispatcher(
                name,
                AlertFilter(config),
                senders[name],
                Outbox(folder / f"{name}.queue", max_alerts=max_queued),
                metrics,
                first_delay_s=first_delay_s,
            )
            for name, config in configs.items()
        ]

    def on_model(self, spec: ClipSpec, streams: Sequence[str]) -> None:
        self._labels = tuple(label for label in spec.labels if label not in spec.background)
        self.announce(streams, self._labels)

    def on_cameras(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        streams = [name for camera in added for name in camera.stream_names]
        self.announce(streams, self._labels)

    def announce(self, cameras: Iterable[str], labels: Iterable[str]) -> None:
        """Publish the states of all cameras and labels, so that receivers know them in advance.

        Without it, and if there are too many, a state appears with the first event of its label.
        """
        pairs = [(camera, label) for camera in cameras for label in labels]
        for dispatcher in self._dispatchers:
            dispatcher.announce(pairs)

    def on_written(self, logged: LoggedEvent) -> None:
        """Queue an event update. Any thread may call it, before `start` too."""
        if logged.change != "progress":
            for dispatcher in self._dispatchers:
                dispatcher.put(logged)

    @property
    def queues(self) -> dict[str, int]:
        return {f"alert {dispatcher.name}": dispatcher.queued for dispatcher in self._dispatchers}


@SINKS.register(Alerts.name)
def _make(context: SinkContext) -> EventSink | None:
    alerts = context.config.alerts
    return Alerts(alerts, context.folder, context.metrics) if alerts else None


def make_sender(
    name: str, config: AlertConfig, folder: Path | None, *, first_delay_s: float = 1.0
) -> AlertSender:
    """The sender of an alert; without a folder a test sender, which publishes no states.

    Raises AlertError for an alert that can't work.
    """
    try:
        if config.webhook is not None:
            return WebhookSender(name, config)
        state_file = folder / f"{name}.states" if folder else None
        return MqttSender(config, state_file, first_delay_s=first_delay_s)
    except (SecretError, AlertError) as error:
        raise AlertError(f"alert {name}: {error}") from error
