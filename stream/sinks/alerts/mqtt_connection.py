"""A connection to an MQTT broker. It belongs to one thread, and is not mended when it breaks.

What was not acknowledged over it is not sent again by itself: nothing waits in two places.
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

_CONNECT_WITHIN_S = 5.0
_ANSWER_WITHIN_S = 10.0
_KEEPALIVE_S = 20  # after one and a half of them without a word the broker says that we are offline
_LOOK_EVERY_S = 2.0  # whether the line must be kept alive

Message = tuple[str, str, bool]  # topic, payload, whether the broker retains it


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is and who we are there."""

    host: str
    port: int
    tls: bool
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)


class BrokerLine:
    """An open connection. `will` is what the broker publishes when it breaks.

    Raises UndeliveredError where there is none, as all of its methods do when it breaks.
    """

    def __init__(self, broker: Broker, client_id: str, will: Message | None) -> None:
        import paho.mqtt.client as paho

        self._refusal: str | None = None  # None before the broker has answered, "" if it takes us
        self._acknowledged: set[int] = set()
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = _CONNECT_WITHIN_S
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
        self._wait(lambda: self._refusal is not None, _ANSWER_WITHIN_S)
        if self._refusal:
            self.close()
            raise UndeliveredError(f"the broker refuses us: {self._refusal}")

    def publish(self, messages: Iterable[Message], *, within_s: float = _ANSWER_WITHIN_S) -> None:
        """Return when the broker has acknowledged all of them."""
        self._acknowledged.clear()
        sent = {
            self._client.publish(topic, payload, qos=1, retain=retain).mid
            for topic, payload, retain in messages
        }
        self._wait(lambda: sent <= self._acknowledged, within_s)

    def turn(self, timeout_s: float, wake: socket.socket | None = None) -> None:
        """Wait for something to do for the line, or to read in `wake`, and do it."""
        line = self._client.socket()
        if line is None:
            if self._refusal:
                return  # that is told where it is waited for
            raise UndeliveredError("the connection broke")
        held_back = line.pending() if isinstance(line, ssl.SSLSocket) else 0
        wanted = selectors.EVENT_READ
        if self._client.want_write():
            wanted |= selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            selector.register(line.fileno(), wanted, "line")
            if wake is not None:
                selector.register(wake, selectors.EVENT_READ, "wake")
            found = selector.select(0 if held_back else min(timeout_s, _LOOK_EVERY_S))
        ready = {key.data: mask for key, mask in found}
        if wake is not None and "wake" in ready:
            with contextlib.suppress(BlockingIOError):
                wake.recv(4096)
        if held_back or ready.get("line", 0) & selectors.EVENT_READ:
            self._client.loop_read()
        if ready.get("line", 0) & selectors.EVENT_WRITE:
            self._client.loop_write()
        self._client.loop_misc()

    def leave(self) -> None:
        """Say goodbye, so that the broker does not publish the will."""
        self._client.disconnect()
        self.close()

    def close(self) -> None:
        line = self._client.socket()
        if line is not None:
            line.close()

    def _wait(self, reached: Callable[[], bool], within_s: float) -> None:
        until = time.monotonic() + within_s
        try:
            while not reached():
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise UndeliveredError(f"the broker did not answer within {within_s:.0f} s")
                self.turn(left_s)
        except UndeliveredError:
            self.close()
            raise

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        self._refusal = str(reason) if reason.is_failure else ""

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, more: Any) -> None:
        self._acknowledged.add(number)


def broker_at(address: str) -> Broker:
    """Read mqtt://USER:PASSWORD@HOST:PORT. Raises TransportError, which does not show it."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise TransportError(
            "mqtt must be an address like mqtt://user:password@host:1883 and nothing behind it; "
            "in user and password %40 stands for @, %2F for /"
        )
    tls = parts.scheme == "mqtts"
    return Broker(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
