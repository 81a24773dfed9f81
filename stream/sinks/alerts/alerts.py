"""Alerts: who is told of which events. Owns no thread itself; each alert's courier has one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from stream.config.events import AlertConfig
from stream.messages import LoggedEvent
from stream.runtime.metrics import Metrics
from stream.sinks.alerts.dispatcher import Courier
from stream.sinks.alerts.filter import AlertFilter
from stream.sinks.alerts.mqtt import Mqtt
from stream.sinks.alerts.outbox import Outbox
from stream.sinks.alerts.sender import Sender
from stream.sinks.alerts.webhook import Webhook
from stream.sources.opencv_capture import SourceError
from stream.workers.transport import TransportError

FOLDER = "alerts"


class Alerts:
    """All alerts of a run. What they are told of waits on disk until it is delivered.

    Raises TransportError, in one line, for an alert that can't work: a secret that is not there,
    an address that is none, an extra that is not installed.
    """

    def __init__(
        self,
        configs: Mapping[str, AlertConfig],
        folder: Path,
        metrics: Metrics,
        *,
        first_pause_s: float = 1.0,
        most_waiting: int = 10_000,
    ) -> None:
        folder = folder / FOLDER
        senders = {name: sender(name, config, folder) for name, config in configs.items()}
        self._couriers = [
            Courier(
                name,
                AlertFilter(config),
                senders[name],
                Outbox(folder / f"{name}.queue", most=most_waiting),
                metrics,
                first_pause_s=first_pause_s,
            )
            for name, config in configs.items()
        ]

    def start(self) -> None:
        for courier in self._couriers:
            courier.start()

    def announce(self, cameras: Iterable[str], labels: Iterable[str]) -> None:
        """What there will be events of, so that receivers can show it before the first one.

        Without it, or where there are very many, they learn of a label when it is first seen.
        """
        pairs = [(camera, label) for camera in cameras for label in labels]
        for courier in self._couriers:
            courier.announce(pairs)

    def put(self, logged: LoggedEvent) -> None:
        """News of an event. From any thread, before `start` too; waits for no receiver."""
        if logged.change != "progress":
            for courier in self._couriers:
                courier.put(logged)

    @property
    def queues(self) -> dict[str, int]:
        """How many wait, by name."""
        return {f"alert {courier.name}": courier.waiting for courier in self._couriers}

    def tell_stop(self) -> None:
        for courier in self._couriers:
            courier.tell_stop()

    def join(self, timeout_s: float) -> bool:
        """Whether all have ended in time, having tried once more to deliver what waits."""
        until = time.monotonic() + timeout_s
        ended = [courier.join(max(0.0, until - time.monotonic())) for courier in self._couriers]
        return all(ended)


def sender(name: str, config: AlertConfig, folder: Path | None) -> Sender:
    """The way to an alert's receiver; without a folder one for a trial, that changes nothing there.

    Raises TransportError for an alert that can't work.
    """
    try:
        if config.webhook is not None:
            return Webhook(name, config)
        return Mqtt(config, folder / f"{name}.states" if folder else None)
    except (SourceError, TransportError) as error:
        raise TransportError(f"alert {name}: {error}") from error
