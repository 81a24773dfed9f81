"""Publishes predictions and events for other programs, over ZeroMQ. Its thread owns the socket."""

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
from stream.runtime.secrets import shown
from stream.sinks.event_log.rows import as_row, iso
from stream.workers.transport import TransportError

_log = logging.getLogger(__name__)
VERSION = 1  # of the messages, see docs/alerts.md
_MOST_WAITING = 1000  # between other threads and ours, and then for each subscriber
_TOP = 10  # labels
_LINGER_MS = 500
_LOOK_EVERY_S = 0.1


class Publisher:
    """A PUB socket at an address. Whoever is slow misses messages; nobody waits for them."""

    def __init__(
        self,
        address: str,
        metrics: Metrics,
        *,
        most_waiting: int = _MOST_WAITING,
        now: Callable[[], float] = time.monotonic,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._address, self._metrics = address, metrics
        self._now, self._now_utc = now, now_utc
        self._waiting: queue.Queue[Prediction | LoggedEvent] = queue.Queue(most_waiting)
        self._numbers: Counter[str] = Counter()  # of messages, by topic
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.endpoint = address  # after `start` with the port that the system chose, if it did

    def start(self) -> None:
        """Raises TransportError for an address that can't be used."""
        context = zmq.Context()
        socket = context.socket(zmq.PUB)
        socket.set(zmq.SNDHWM, _MOST_WAITING)
        try:
            socket.bind(self._address)
        except zmq.ZMQError as error:
            context.destroy(linger=0)
            raise TransportError(
                f"publish: {shown(self._address)} can't be used: {error}; give another address, "
                "like tcp://127.0.0.1:5556"
            ) from error
        self.endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._thread = threading.Thread(
            target=self._run, args=(context, socket), name="publisher", daemon=True
        )
        self._thread.start()

    def tell_stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def put_prediction(self, prediction: Prediction) -> None:
        """From any thread; never blocks."""
        self._put(prediction, prediction.camera)

    def put_event(self, logged: LoggedEvent) -> None:
        """From any thread; never blocks."""
        self._put(logged, logged.event.camera)

    def _put(self, what: Prediction | LoggedEvent, camera: str) -> None:
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self._metrics.count("dropped_publications", camera)

    def _run(self, context: zmq.Context, socket: zmq.Socket) -> None:
        try:
            while not (self._stop.is_set() and self._waiting.empty()):
                with contextlib.suppress(queue.Empty):
                    self._send(socket, self._waiting.get(timeout=_LOOK_EVERY_S))
        except Exception:  # the watch goes on without it
            _log.exception("the publisher died; nothing more is published")
            self._metrics.count("publisher_deaths")
        finally:
            socket.close(linger=_LINGER_MS)
            context.term()

    def _send(self, socket: zmq.Socket, what: Prediction | LoggedEvent) -> None:
        if isinstance(what, Prediction):
            topic, said = f"prediction/{what.camera}", self._prediction(what)
        else:
            topic = f"event/{what.event.camera}"
            said = {"change": what.change, "event": as_row(what)}
        self._numbers[topic] += 1
        head = {"v": VERSION, "n": self._numbers[topic], "sent_at": iso(self._now_utc())}
        message = json.dumps({**head, **said}, ensure_ascii=False).encode()
        socket.send_multipart([topic.encode(), message])

    def _prediction(self, prediction: Prediction) -> dict[str, Any]:
        top = prediction.top(_TOP)
        return {
            "camera": prediction.camera,
            "start_s": prediction.start_s,
            "end_s": prediction.end_s,
            "age_s": round(self._now() - prediction.newest_at, 4),
            "labels": [
                {"label": label, "probability": round(probability, 4)} for label, probability in top
            ],
        }
