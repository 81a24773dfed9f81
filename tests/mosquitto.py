"""A real MQTT broker and a subscriber for tests, if Mosquitto is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.waiting import wait_for

_EXECUTABLE = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
mosquitto = pytest.mark.skipif(_EXECUTABLE is None, reason="needs Debian's mosquitto")


class Broker:
    """Mosquitto on its own port, with sessions and retained messages that survive a restart."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        settings = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "log_dest none",
            # As root it would switch to a user without write access to the folder.
            *(["user root"] if os.getuid() == 0 else []),
            *(lines or ["allow_anonymous true"]),
        ]
        (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n")
        self.start()

    def start(self) -> None:
        assert _EXECUTABLE is not None
        self.process = subprocess.Popen([_EXECUTABLE, "-c", str(self._folder / "mosquitto.conf")])
        wait_for(self._accepts_connections)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def _accepts_connections(self) -> bool:
        assert self.process.poll() is None, "mosquitto exited"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False


class Subscriber:
    """Receives all messages, also those published while it or the broker was down."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as paho

        self.received: list[tuple[str, str]] = []  # topic and payload, in order
        self._subscribed = threading.Event()
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False
        )
        # Only in a new session, so that retained messages are received once.
        self._client.on_connect = lambda client, _, flags, *more: (
            None if flags.session_present else client.subscribe("#", qos=1)
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _, __, message: self.received.append(
            (message.topic, message.payload.decode())
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(60)

    def payloads(self, topic: str) -> list[str]:
        return [payload for name, payload in list(self.received) if name == topic]

    def sync(self) -> None:
        """Return when the broker has our acknowledgments, and will not resend messages."""
        self._client.publish("sync", qos=1).wait_for_publish(60)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes two sockets when nothing refers to its client: end the cycle.
        self._client.on_subscribe = self._client.on_message = None
