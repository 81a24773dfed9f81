"""Event updates, alerts and a real HTTP receiver for tests of alerts."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stream.messages import Event, LoggedEvent
from stream.sinks.alerts.sender import Alert
from stream.sinks.event_log.rows import as_row

START_UTC = datetime(2026, 1, 31, 8, tzinfo=timezone.utc)


def event_update(
    event_id: str,
    change: str,
    at_s: float = 1.0,
    *,
    camera: str = "door",
    label: str = "wave",
    duration_s: float = 1.0,
) -> LoggedEvent:
    """Start, progress or end of an event that started at `at_s`."""
    end_s = at_s + duration_s if change == "end" else None
    event = Event(
        id=event_id,
        camera=camera,
        label=label,
        start_s=at_s,
        latest_s=end_s or at_s + 0.5,
        end_s=end_s,
        detected_s=at_s + 0.5,
        peak=0.9,
        peak_s=at_s + 0.5,
        mean=0.8,
    )
    return LoggedEvent(event, change, START_UTC, "motion")


def alert(number: int) -> Alert:
    logged = event_update(f"e{number}", "start", float(number), label='öffnen, "jetzt"\n')
    return Alert(f"e{number}-start", "start", as_row(logged))


class Receiver:
    """A web server that records its requests; it can be stopped and restarted on the same port.

    `status` is the status of the next responses; 0 closes the connection instead.
    """

    def __init__(self) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {}  # of the responses
        self.bodies: list[bytes] = []  # of acknowledged requests
        self.requests: list[Mapping[str, str]] = []  # headers of all requests
        self.paths: list[str] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(dict(self.headers.items()))
                receiver.paths.append(self.path)
                if not receiver.status:
                    return
                if receiver.status < 300:
                    receiver.bodies.append(body)
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @property
    def ids(self) -> list[str]:
        return [message["id"] for message in self.messages]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"
