"""MQTT: events, and what goes on now, to a broker.

An Mqtt and its line belong to one thread, except `show` and `wake`, which any may call.
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
from stream.runtime.secrets import resolved
from stream.sinks.alerts.mqtt_connection import BrokerLine, Message, broker_at
from stream.sinks.alerts.mqtt_topics import (
    OFF,
    OFFLINE,
    ON,
    ONLINE,
    discovery,
    events_topic,
    state_topic,
    status_topic,
)
from stream.sinks.alerts.sender import Alert, UndeliveredError
from stream.workers.transport import TransportError

_log = logging.getLogger(__name__)
_LEAVE_WITHIN_S = 2.0
_MOST_STATES = 2000  # cameras times labels
_MOST_CHANGES = 1000  # of states, until they are told

Pair = tuple[str, str]  # camera and label


class Mqtt:
    """The sender of one alert that goes to an MQTT broker.

    Events are history: they are sent in order, however late. States are what is true now: what has
    passed while the broker was away is not told. `memory` is the file that holds which states were
    ever told, so that a run after a crash sets them right; a sender without it is a guest that
    sends events and leaves nothing else behind.
    Raises TransportError or SourceError for what can't work.
    """

    def __init__(self, config: AlertConfig, memory: Path | None) -> None:
        assert config.mqtt is not None
        if importlib.util.find_spec("paho") is None:
            raise TransportError("mqtt is an extra: pip install 'actionwatch[mqtt]'")
        self._broker = broker_at(resolved(config.mqtt))
        self._topic, self._discovers = config.topic, config.discovery
        self._memory = memory
        self._line: BrokerLine | None = None
        self._ends: tuple[socket.socket, socket.socket] | None = None  # by which it is woken
        self._lock = threading.Lock()
        self._states: dict[Pair, bool] = {}
        self._changes: deque[tuple[Pair, bool]] = deque(maxlen=_MOST_CHANGES)
        self._told: dict[Pair, bool] = {}  # over this line
        self._remembered: set[Pair] | None = None  # what the file holds, once it is written
        self._client_id = f"actionwatch-{uuid.uuid4().hex[:16]}"
        if memory is not None:
            self._recall(memory)

    # Of any thread.
    def show(self, camera: str, label: str, *, on: bool | None) -> None:
        pair = camera, label
        with self._lock:
            if pair not in self._states:
                if len(self._states) >= _MOST_STATES:
                    return
                self._states[pair] = False
            if on is not None:
                self._states[pair] = on
                self._changes.append((pair, on))

    def wake(self) -> None:
        ends = self._ends
        if ends is not None:
            with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
                ends[0].send(b"!")

    # Of the thread that owns it.
    def send(self, alert: Alert) -> None:
        line = self._connected()
        said = {"id": alert.id, "change": alert.change, "event": dict(alert.event)}
        topic = events_topic(self._topic, alert.event["camera"])
        try:
            line.publish(self._news())
            # Last and alone: what was acknowledged must not be sent again.
            line.publish([(topic, json.dumps(said, ensure_ascii=False), False)])
        except UndeliveredError:
            self._hang_up()
            raise

    def rest(self, timeout_s: float) -> None:
        line = self._connected()
        try:
            line.publish(self._news())
            line.turn(timeout_s, self._ends[1] if self._ends else None)
        except UndeliveredError:
            self._hang_up()
            raise

    def close(self) -> None:
        """Say that nothing goes on and that we are offline, and leave."""
        if self._line is not None:
            with contextlib.suppress(UndeliveredError):  # then the broker says it for us
                if self._memory is not None:
                    with self._lock:
                        self._states = dict.fromkeys(self._states, False)
                    offline = (status_topic(self._topic), OFFLINE, True)
                    self._line.publish([*self._news(), offline], within_s=_LEAVE_WITHIN_S)
                self._line.leave()
            self._hang_up()
        ends, self._ends = self._ends, None
        for end in ends or ():
            end.close()

    def _connected(self) -> BrokerLine:
        if self._line is not None:
            return self._line
        if self._ends is None:
            self._ends = socket.socketpair()
            for end in self._ends:
                end.setblocking(False)
        if self._memory is None:
            self._line = BrokerLine(self._broker, self._client_id, None)
            return self._line
        status = status_topic(self._topic)
        self._remember()  # our name at the broker, at the latest now
        line = BrokerLine(self._broker, self._client_id, (status, OFFLINE, True))
        self._told.clear()
        with self._lock:
            self._changes.clear()
        # The states first, so that they are right when they begin to count.
        line.publish([*self._news(), (status, ONLINE, True)])
        self._line = line
        return line

    def _news(self) -> list[Message]:
        """What the broker is to be told of states; this counts as told."""
        with self._lock:
            changes = [*self._changes, *self._states.items()]
            self._changes.clear()
        if self._memory is None:
            return []
        news: list[Message] = []
        for (camera, label), on in changes:
            told = self._told.get((camera, label))
            if told is None and self._discovers:
                news.append((*discovery(self._topic, camera, label), True))
            if told is not on:
                news.append((state_topic(self._topic, camera, label), ON if on else OFF, True))
            self._told[camera, label] = on
        if news:
            self._remember()
        return news

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _recall(self, memory: Path) -> None:
        """Our name at the broker, and the states that were told by a former run.

        The name stays the same: then the broker ends a line that broke, and says that we are
        offline, before it takes the next one, and not a while after.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(memory.read_bytes())
            states = {(str(camera), str(label)): False for camera, label in said["states"]}
            self._client_id, self._states = str(said["client"]), states

    def _remember(self) -> None:
        with self._lock:
            pairs = set(self._states)
        if self._memory is None or pairs == self._remembered:
            return
        self._remembered = pairs
        said = {"client": self._client_id, "states": sorted(pairs)}
        new = self._memory.with_name(self._memory.name + ".part")
        try:
            new.write_text(json.dumps(said), encoding="utf-8")
            new.replace(self._memory)
        except OSError as error:
            _log.warning("%s can't be written: %s", self._memory, error.strerror)
