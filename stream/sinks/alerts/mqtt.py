"""MqttSender: publishes events, and the current state of each label, to an MQTT broker.

One thread owns an MqttSender and its connection, except `set_state` and `wake`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import socket
import threading
import uuid
from collections import deque
from pathlib import Path

from stream.config.events import AlertConfig
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
from stream.sinks.alerts.sender import Alert, UndeliveredError
from stream.workers.transport import TransportError

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
    Raises TransportError or SecretError for an invalid address or a missing package.
    """

    def __init__(self, config: AlertConfig, state_file: Path | None) -> None:
        assert config.mqtt is not None
        if importlib.util.find_spec("paho") is None:
            raise TransportError("mqtt is an extra: pip install 'actionwatch[mqtt]'")
        self._broker = parse_broker_address(resolve_secrets(config.mqtt))
        self._topic, self._use_discovery = config.topic, config.discovery
        self._state_file = state_file
        self._connection: MqttConnection | None = None
        self._wake_sockets: tuple[socket.socket, socket.socket] | None = None
        self._lock = threading.Lock()
        self._states: dict[Pair, bool] = {}
        self._changes: deque[tuple[Pair, bool]] = deque(maxlen=_MAX_CHANGES)
        self._published: dict[Pair, bool] = {}  # over this connection
        self._stored: set[Pair] | None = None  # content of the file, once it is written
        self._client_id = f"actionwatch-{uuid.uuid4().hex[:16]}"
        if state_file is not None:
            self._load_states(state_file)

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
        sockets = self._wake_sockets
        if sockets is not None:
            with contextlib.suppress(OSError):  # full: already awake; closed: nothing waits
                sockets[0].send(b"!")

    # The owning thread.
    def send(self, alert: Alert) -> None:
        connection = self._connected()
        message = {"id": alert.id, "change": alert.change, "event": dict(alert.event)}
        topic = events_topic(self._topic, alert.event["camera"])
        try:
            connection.publish(self._state_messages())
            # Last and alone: an acknowledged event must not be published again.
            connection.publish([(topic, json.dumps(message, ensure_ascii=False), False)])
        except UndeliveredError:
            self._drop_connection()
            raise

    def idle(self, timeout_s: float) -> None:
        connection = self._connected()
        try:
            connection.publish(self._state_messages())
            wake = self._wake_sockets[1] if self._wake_sockets else None
            connection.loop_once(timeout_s, wake)
        except UndeliveredError:
            self._drop_connection()
            raise

    def close(self) -> None:
        """Publish all states as OFF and the status as offline, and disconnect."""
        if self._connection is not None:
            with contextlib.suppress(UndeliveredError):  # then the broker publishes the will
                if self._state_file is not None:
                    with self._lock:
                        self._states = dict.fromkeys(self._states, False)
                    offline = (status_topic(self._topic), OFFLINE, True)
                    messages = [*self._state_messages(), offline]
                    self._connection.publish(messages, timeout_s=_CLOSE_TIMEOUT_S)
                self._connection.disconnect()
            self._drop_connection()
        sockets, self._wake_sockets = self._wake_sockets, None
        for end in sockets or ():
            end.close()

    def _connected(self) -> MqttConnection:
        if self._connection is not None:
            return self._connection
        if self._wake_sockets is None:
            self._wake_sockets = socket.socketpair()
            for end in self._wake_sockets:
                end.setblocking(False)
        if self._state_file is None:
            self._connection = MqttConnection(self._broker, self._client_id, None)
            return self._connection
        status = status_topic(self._topic)
        self._store_states()  # with our client id, at the latest now
        connection = MqttConnection(self._broker, self._client_id, (status, OFFLINE, True))
        self._published.clear()
        with self._lock:
            self._changes.clear()
        # States before the status, so that they are correct once receivers use them.
        connection.publish([*self._state_messages(), (status, ONLINE, True)])
        self._connection = connection
        return connection

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

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

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
            _log.warning("%s can't be written: %s", self._state_file, error.strerror)
