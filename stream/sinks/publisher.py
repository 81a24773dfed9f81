"""Publishes predictions and events to other programs over ZeroMQ. Its thread owns the socket."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import zmq

from stream.messages import LoggedEvent, Prediction
from stream.runtime.metrics import Metrics
from stream.runtime.secrets import redact
from stream.sinks.event_log.rows import as_row, iso
from stream.workers.transport import TransportError

_log = logging.getLogger(__name__)
VERSION = 1  # of the messages, see docs/alerts.md
_MAX_QUEUED = 1000  # messages in our queue, and then in ZeroMQ's for each subscriber
_TOP_K = 10  # labels
_LINGER_MS = 500
_POLL_INTERVAL_S = 0.1


class Publisher:
    """A PUB socket at an address. It never waits: slow subscribers miss messages."""

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
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.endpoint = address  # after `start` with the port that the system assigned

    def start(self) -> None:
        """Raises TransportError for an address that can't be used."""
        context = zmq.Context()
        socket = context.socket(zmq.PUB)
        socket.set(zmq.SNDHWM, _MAX_QUEUED)
        try:
            socket.bind(self._address)
        except zmq.ZMQError as error:
            context.destroy(linger=0)
            raise TransportError(
                f"publish: {redact(self._address)} can't be used: {error}; give another address, "
                "like tcp://127.0.0.1:5556"
            ) from error
        self.endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._thread = threading.Thread(
            target=self._run, args=(context, socket), name="publisher", daemon=True
        )
        self._thread.start()

    def request_stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def put_prediction(self, prediction: Prediction) -> None:
        """Any thread may call it; never blocks."""
        self._put(prediction, prediction.camera)

    def put_event(self, logged: LoggedEvent) -> None:
        """Any thread may call it; never blocks."""
        self._put(logged, logged.event.camera)

    def _put(self, item: Prediction | LoggedEvent, camera: str) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._metrics.count("dropped_publications", camera)

    def _run(self, context: zmq.Context, socket: zmq.Socket) -> None:
        try:
            while not (self._stop.is_set() and self._queue.empty()):
                with contextlib.suppress(queue.Empty):
                    self._send(socket, self._queue.get(timeout=_POLL_INTERVAL_S))
        except Exception:  # the run continues without it
            _log.exception("the publisher crashed; nothing more is published")
            self._metrics.count("publisher_crashes")
        finally:
            socket.close(linger=_LINGER_MS)
            context.term()

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
