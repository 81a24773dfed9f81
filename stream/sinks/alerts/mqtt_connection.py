"""A connection to an MQTT broker. paho's thread opens it, and reopens it after a loss.

The broker's acknowledgments arrive on paho's thread; one other thread owns the MqttConnection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from stream.runtime.errors import reason_of
from stream.sinks.alerts.sender import AlertError, UndeliveredError

_CONNECT_TIMEOUT_S = 5.0
_ACK_TIMEOUT_S = 10.0
_KEEPALIVE_S = 20  # the broker publishes the will after 1.5 times as long without a packet
_MAX_DELAY_S = 60  # between two attempts to connect

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
    """Publishes with QoS 1. The broker publishes `will` if the connection is lost.

    Messages that were in flight then are published again over the next connection. All methods
    except `wake` and `close` raise UndeliveredError while there is no connection.
    """

    def __init__(
        self, broker: BrokerAddress, client_id: str, will: Message | None, first_delay_s: float
    ) -> None:
        import paho.mqtt.client as paho

        self._broker = broker
        self._changed = threading.Condition()  # guards the fields below
        self._connections = 0  # so far
        self._is_open = False
        self._problem = ""  # of the last attempt to connect, or the last connection
        self._has_news = False  # a problem that no method has raised yet
        self._is_awake = False
        self._acknowledged: set[int] = set()
        self._in_flight: set[int] = set()  # used by the owning thread only
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv311
        )
        self._client.connect_timeout = _CONNECT_TIMEOUT_S
        # paho's annotation says int; it adds the delay to a time.
        self._client.reconnect_delay_set(first_delay_s, _MAX_DELAY_S)  # type: ignore[arg-type]
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if will is not None:
            topic, payload, retain = will
            self._client.will_set(topic, payload, qos=1, retain=retain)
        self._is_started = self._is_closed = False

    def wait_open(self) -> int:
        """Wait for the connection, and until it has delivered all messages in flight.

        Returns the number of connections so far.
        """
        self._start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_open or self._has_news or (self._problem and self._is_awake),
                _ACK_TIMEOUT_S,
            )
            self._check_open()
            number = self._connections
        self._wait_acknowledged(_ACK_TIMEOUT_S)
        return number

    def publish(self, messages: Iterable[Message], *, timeout_s: float | None = None) -> None:
        """Return when the broker has acknowledged all messages."""
        for topic, payload, retain in messages:
            self._in_flight.add(self._client.publish(topic, payload, qos=1, retain=retain).mid)
        self._wait_acknowledged(_ACK_TIMEOUT_S if timeout_s is None else timeout_s)

    def idle(self, timeout_s: float) -> None:
        """Wait for `wake` or the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_awake or not self._is_open, timeout_s)
            self._check_open()
            self._is_awake = False

    def wake(self) -> None:
        """Make `idle` return. Any thread may call it."""
        with self._changed:
            self._is_awake = True
            self._changed.notify_all()

    def close(self, *, publish_will: bool) -> None:
        self._is_closed = True
        if publish_will:
            self._break()
        self._client.disconnect()
        self._client.loop_stop()
        unused = self._client.socket()
        if unused is not None:
            unused.close()
        # paho closes two other sockets when nothing refers to its client: end the cycle.
        self._client.on_connect = self._client.on_connect_fail = None
        self._client.on_disconnect = self._client.on_publish = None

    def _start(self) -> None:
        if not self._is_started:
            try:
                if self._broker.tls:
                    self._client.tls_set_context(ssl.create_default_context())
            except OSError as error:
                raise UndeliveredError(f"no connection: {reason_of(error)}") from error
            self._client.connect_async(self._broker.host, self._broker.port, _KEEPALIVE_S)
            self._is_started = True
        self._client.loop_start()  # does nothing, unless an invalid packet has ended paho's thread

    def _check_open(self) -> None:
        if not self._is_open:
            self._has_news = self._is_awake = False
            reason = self._problem or f"the broker did not answer within {_ACK_TIMEOUT_S:.0f} s"
            raise UndeliveredError(reason, is_retrying=True)

    def _wait_acknowledged(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._in_flight <= self._acknowledged or not self._is_open, timeout_s
            )
            if self._in_flight <= self._acknowledged:
                self._in_flight.clear()
                self._acknowledged.clear()
                return
            self._check_open()
        self._break()
        raise UndeliveredError(
            f"the broker did not answer within {timeout_s:.0f} s", is_retrying=True
        )

    def _break(self) -> None:
        """End the connection without a goodbye; paho opens another one."""
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # On paho's thread.
    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        if reason.is_failure:
            self._fail(f"the broker rejected the connection: {reason}")
            return
        if self._is_closed:  # meanwhile; `loop_stop` would wait for messages in flight
            client.disconnect()
            return
        with self._changed:
            self._is_open, self._problem, self._has_news = True, "", False
            self._connections += 1
            self._changed.notify_all()

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        error = sys.exc_info()[1]  # paho is handling it
        self._fail(f"no connection: {getattr(error, 'strerror', None) or error}")

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        if self._is_open:  # else the broker has rejected it
            self._fail("the connection was lost")

    def _fail(self, problem: str) -> None:
        with self._changed:
            self._is_open, self._problem, self._has_news = False, problem, True
            self._changed.notify_all()

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, more: Any) -> None:
        with self._changed:
            self._acknowledged.add(number)
            self._changed.notify_all()


def parse_broker_address(address: str) -> BrokerAddress:
    """Parse mqtt://USER:PASSWORD@HOST:PORT. Raises AlertError, without showing the address."""
    try:
        parts = urlsplit(address)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as a connection does
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise AlertError(
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
