"""Publishes predictions and events to other programs over ZeroMQ. Its thread owns the socket."""

from __future__ import annotations

import json
import queue
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import zmq

from stream.messages import LoggedEvent, Prediction
from stream.runtime.errors import UserError
from stream.runtime.metrics import Metrics
from stream.runtime.secrets import redact
from stream.runtime.service import ServiceThread
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.event_log.rows import as_row, iso

VERSION = 1  # of the messages, see docs/alerts.md
_MAX_QUEUED = 1000  # messages in our queue, and then in ZeroMQ's for each subscriber
_TOP_K = 10  # labels
_LINGER_MS = 500


class PublishError(UserError):
    """The address can't be used; the message names it and the fix, in one line."""


class Publisher(EventSink):
    """A PUB socket at an address. It never waits: slow subscribers miss messages."""

    name = "publisher"

    def __init__(
        self,
        address: str,
        metrics: Metrics,
        *,
        max_queued: int = _MAX_QUEUED,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._address, self._metrics = address, metrics
        self._now, self._now_utc = now, now_utc
        self._queue: queue.Queue[Prediction | LoggedEvent] = queue.Queue(max_queued)
        self._counts: Counter[str] = Counter()  # of messages, by topic
        self._context: zmq.Context | None = None  # with the socket, while it is open
        self._socket: zmq.Socket | None = None
        self._thread = ServiceThread(
            self.name, self._run, metrics=metrics, crashes="publisher_crashes"
        )
        self.services = (self._thread,)
        self.endpoint = address  # after `start` with the port that the system assigned

    def start(self) -> None:
        """Raises PublishError for an address that can't be used."""
        context = zmq.Context()
        socket = context.socket(zmq.PUB)
        socket.set(zmq.SNDHWM, _MAX_QUEUED)
        try:
            socket.bind(self._address)
        except zmq.ZMQError as error:
            context.destroy(linger=0)
            raise PublishError(
                f"publish: {redact(self._address)} can't be used: {error}; give another address, "
                "like tcp://127.0.0.1:5556"
            ) from error
        self.endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._context, self._socket = context, socket
        super().start()

    def on_prediction(self, prediction: Prediction, end_utc: datetime) -> None:
        self._put(prediction, prediction.camera)

    def on_written(self, logged: LoggedEvent) -> None:
        self._put(logged, logged.event.camera)

    def _put(self, item: Prediction | LoggedEvent, camera: str) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._metrics.count("dropped_publications", camera)

    def _run(self) -> None:
        assert self._context is not None
        assert self._socket is not None
        try:
            for item in self._thread.items(self._queue):
                self._send(self._socket, item)
        finally:
            self._socket.close(linger=_LINGER_MS)
            self._context.term()

    def _send(self, socket: zmq.Socket, item: Prediction | LoggedEvent) -> None:
        if isinstance(item, Prediction):
            topic, body = f"prediction/{item.camera}", self._prediction(item)
        else:
            topic = f"event/{item.event.camera}"
            body = {"change": item.change, "event": as_row(item)}
        self._counts[topic] += 1
        head = {"v": VERSION, "n": self._counts[topic], "sent_at": iso(self._now_utc())}
        message = json.dumps({**head, **body}, ensure_ascii=False).encode()
        socket.send_multipart([topic.encode(), message])

    def _prediction(self, prediction: Prediction) -> dict[str, Any]:
        top = prediction.top(_TOP_K)
        return {
            "camera": prediction.camera,
            "start_s": prediction.start_s,
            "end_s": prediction.end_s,
            "age_s": round(self._now() - prediction.newest_at, 4),
            "labels": [
                {"label": label, "probability": round(probability, 4)} for label, probability in top
            ],
        }


@SINKS.register(Publisher.name)
def _make(context: SinkContext) -> EventSink | None:
    address = context.config.publish
    return Publisher(address, context.metrics, now=context.now) if address else None
