"""A connection to an MQTT broker. One thread owns it. It does not reconnect.

It does not resend unacknowledged messages either: the outbox is the only queue.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from stream.sinks.alerts.sender import UndeliveredError
from stream.workers.transport import TransportError

_CONNECT_TIMEOUT_S = 5.0
_ACK_TIMEOUT_S = 10.0
_KEEPALIVE_S = 20  # the broker publishes the will after 1.5 times as long without a packet
_MAX_WAIT_S = 2.0  # between two calls of loop_misc, which sends keepalives

Message = tuple[str, str, bool]  # topic, payload, retain


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Address and credentials of a broker."""

    host: str
    port: int
    tls: bool
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)


class MqttConnection:
    """An open connection. The broker publishes `will` if the connection is lost.

    Raises UndeliveredError if it can't connect; all methods do if the connection is lost.
    """

    def __init__(self, broker: BrokerAddress, client_id: str, will: Message | None) -> None:
        import paho.mqtt.client as paho

        self._rejection: str | None = None  # None before CONNACK, "" if accepted
        self._acknowledged: set[int] = set()
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = _CONNECT_TIMEOUT_S
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if will is not None:
            topic, payload, retain = will
            self._client.will_set(topic, payload, qos=1, retain=retain)
        try:
            if broker.tls:
                self._client.tls_set_context(ssl.create_default_context())
            self._client.connect(broker.host, broker.port, keepalive=_KEEPALIVE_S)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UndeliveredError(f"no connection: {reason}") from error
        self._wait(lambda: self._rejection is not None, _ACK_TIMEOUT_S)
        if self._rejection:
            self.close()
            raise UndeliveredError(f"the broker rejected the connection: {self._rejection}")

    def publish(self, messages: Iterable[Message], *, timeout_s: float = _ACK_TIMEOUT_S) -> None:
        """Publish with QoS 1. Returns when the broker has acknowledged all messages."""
        self._acknowledged.clear()
        sent = {
            self._client.publish(topic, payload, qos=1, retain=retain).mid
            for topic, payload, retain in messages
        }
        self._wait(lambda: sent <= self._acknowledged, timeout_s)

    def loop_once(self, timeout_s: float, wake: socket.socket | None = None) -> None:
        """Wait until the connection or `wake` is ready, and process it."""
        connection = self._client.socket()
        if connection is None:
            if self._rejection:
                return  # the constructor raises
            raise UndeliveredError("the connection was lost")
        buffered = connection.pending() if isinstance(connection, ssl.SSLSocket) else 0
        events = selectors.EVENT_READ
        if self._client.want_write():
            events |= selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), events, "connection")
            if wake is not None:
                selector.register(wake, selectors.EVENT_READ, "wake")
            selected = selector.select(0 if buffered else min(timeout_s, _MAX_WAIT_S))
        ready = {key.data: mask for key, mask in selected}
        if wake is not None and "wake" in ready:
            with contextlib.suppress(BlockingIOError):
                wake.recv(4096)
        if buffered or ready.get("connection", 0) & selectors.EVENT_READ:
            self._client.loop_read()
        if ready.get("connection", 0) & selectors.EVENT_WRITE:
            self._client.loop_write()
        self._client.loop_misc()

    def disconnect(self) -> None:
        """Disconnect cleanly, so that the broker does not publish the will."""
        self._client.disconnect()
        self.close()

    def close(self) -> None:
        connection = self._client.socket()
        if connection is not None:
            connection.close()

    def _wait(self, is_done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        try:
            while not is_done():
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise UndeliveredError(f"the broker did not answer within {timeout_s:.0f} s")
                self.loop_once(left_s)
        except UndeliveredError:
            self.close()
            raise

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        self._rejection = str(reason) if reason.is_failure else ""

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, more: Any) -> None:
        self._acknowledged.add(number)


def parse_broker_address(address: str) -> BrokerAddress:
    """Parse mqtt://USER:PASSWORD@HOST:PORT. Raises TransportError, without showing the address."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise TransportError(
            "mqtt must be an address like mqtt://user:password@host:1883 without a path; "
            "write @ in user and password as %40, / as %2F"
        )
    tls = parts.scheme == "mqtts"
    return BrokerAddress(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
