"""MqttSender: publishes events, and the current state of each label, to an MQTT broker.

One thread owns an MqttSender, except `set_state` and `wake`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import threading
import uuid
from collections import deque
from pathlib import Path

from stream.config.events import AlertConfig
from stream.runtime.errors import reason_of
from stream.runtime.files import write_atomically
from stream.runtime.secrets import resolve_secrets
from stream.sinks.alerts.mqtt_connection import Message, MqttConnection, parse_broker_address
from stream.sinks.alerts.mqtt_topics import (
    OFF,
    OFFLINE,
    ON,
    ONLINE,
    discovery_message,
    events_topic,
    state_topic,
    status_topic,
)
from stream.sinks.alerts.sender import Alert, AlertError, UndeliveredError

_log = logging.getLogger(__name__)
_CLOSE_TIMEOUT_S = 2.0
_MAX_STATES = 2000  # cameras times labels
_MAX_CHANGES = 1000  # of states, until they are published

Pair = tuple[str, str]  # camera and label


class MqttSender:
    """Sends one alert's messages to an MQTT broker.

    Events are history: they are published in order, however late. States are current: changes
    while the broker was unavailable are not published. `state_file` stores which states were
    published, so that a run after a crash corrects them; without it the sender publishes events
    only, and no retained messages.
    Raises AlertError or SecretError for an invalid address or a missing package.
    """

    def __init__(
        self, config: AlertConfig, state_file: Path | None, *, first_delay_s: float = 1.0
    ) -> None:
        assert config.mqtt is not None
        if importlib.util.find_spec("paho") is None:
            raise AlertError("mqtt is an extra: pip install 'actionwatch[mqtt]'")
        self._topic, self._use_discovery = config.topic, config.discovery
        self._state_file = state_file
        self._lock = threading.Lock()  # guards states and changes
        self._states: dict[Pair, bool] = {}
        self._changes: deque[tuple[Pair, bool]] = deque(maxlen=_MAX_CHANGES)
        self._published: dict[Pair, bool] = {}  # over this connection
        self._stored: set[Pair] | None = None  # content of the file, once it is written
        self._announced = 0  # number of the connection that has all states
        self._unacknowledged = ""  # id of the alert that the connection delivers
        self._client_id = f"actionwatch-{uuid.uuid4().hex[:16]}"
        if state_file is not None:
            self._load_states(state_file)
        will = (status_topic(self._topic), OFFLINE, True) if state_file is not None else None
        broker = parse_broker_address(resolve_secrets(config.mqtt))
        self._connection = MqttConnection(broker, self._client_id, will, first_delay_s)

    # Any thread.
    def set_state(self, camera: str, label: str, *, on: bool | None) -> None:
        pair = camera, label
        with self._lock:
            if pair not in self._states:
                if len(self._states) >= _MAX_STATES:
                    return
                self._states[pair] = False
            if on is not None:
                self._states[pair] = on
                self._changes.append((pair, on))

    def wake(self) -> None:
        self._connection.wake()

    # The owning thread.
    def send(self, alert: Alert) -> None:
        self._publish_states()
        if alert.id != self._unacknowledged:  # else the broker has just acknowledged it
            self._unacknowledged = alert.id
            message = {"id": alert.id, "change": alert.change, "event": dict(alert.event)}
            topic = events_topic(self._topic, alert.event["camera"])
            self._connection.publish([(topic, json.dumps(message, ensure_ascii=False), False)])
        self._unacknowledged = ""

    def idle(self, timeout_s: float) -> None:
        self._publish_states()
        self._connection.idle(timeout_s)

    def close(self) -> None:
        """Publish all states as OFF and the status as offline, and disconnect."""
        is_offline = self._state_file is None
        if self._announced and not is_offline:
            with self._lock:
                self._states = dict.fromkeys(self._states, False)
            offline = (status_topic(self._topic), OFFLINE, True)
            with contextlib.suppress(UndeliveredError):
                messages = [*self._state_messages(), offline]
                self._connection.publish(messages, timeout_s=_CLOSE_TIMEOUT_S)
                is_offline = True
        self._connection.close(publish_will=not is_offline)

    def _publish_states(self) -> None:
        """Publish what the broker does not know yet."""
        self._store_states()  # with our client id, before the first connection
        number = self._connection.wait_open()
        if self._state_file is None or number == self._announced:
            self._connection.publish(self._state_messages())
            return
        self._published.clear()
        with self._lock:
            self._changes.clear()
        # States before the status, so that they are correct once receivers use them.
        online = (status_topic(self._topic), ONLINE, True)
        self._connection.publish([*self._state_messages(), online])
        self._announced = number

    def _state_messages(self) -> list[Message]:
        """Messages for changed states, which count as published from now on."""
        with self._lock:
            changes = [*self._changes, *self._states.items()]
            self._changes.clear()
        if self._state_file is None:
            return []
        messages: list[Message] = []
        for (camera, label), on in changes:
            published = self._published.get((camera, label))
            if published is None and self._use_discovery:
                messages.append((*discovery_message(self._topic, camera, label), True))
            if published is not on:
                messages.append((state_topic(self._topic, camera, label), ON if on else OFF, True))
            self._published[camera, label] = on
        if messages:
            self._store_states()
        return messages

    def _load_states(self, file: Path) -> None:
        """Load the client id and the states that a previous run published.

        With the same client id the broker closes the old connection, and publishes its will,
        before it accepts the new one instead of some time later.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = json.loads(file.read_bytes())
            states = {(str(camera), str(label)): False for camera, label in stored["states"]}
            self._client_id, self._states = str(stored["client"]), states

    def _store_states(self) -> None:
        with self._lock:
            pairs = set(self._states)
        if self._state_file is None or pairs == self._stored:
            return
        self._stored = pairs
        content = {"client": self._client_id, "states": sorted(pairs)}
        try:
            write_atomically(self._state_file, json.dumps(content))
        except OSError as error:
            _log.warning("%s can't be written: %s", self._state_file, reason_of(error))
