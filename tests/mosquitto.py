"""A real MQTT broker for tests, where Mosquitto is installed, and a subscriber."""

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

_PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
mosquitto = pytest.mark.skipif(_PROGRAM is None, reason="needs Debian's mosquitto")


class Broker:
    """Mosquitto on a port of its own, keeping what it has over a restart."""

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
            # Started as root it would become a user that may not write into the folder.
            *(["user root"] if os.getuid() == 0 else []),
            *(lines or ["allow_anonymous true"]),
        ]
        (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n")
        self.start()

    def start(self) -> None:
        assert _PROGRAM is not None
        self.process = subprocess.Popen([_PROGRAM, "-c", str(self._folder / "mosquitto.conf")])
        wait_for(self._answers, within_s=20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def _answers(self) -> bool:
        assert self.process.poll() is None, "mosquitto has ended"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False


class Subscriber:
    """Gets everything, and misses nothing while it or the broker is away."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as paho

        self.got: list[tuple[str, str]] = []  # topic and message, in order
        self._subscribed = threading.Event()
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False
        )
        # Anew only where the broker has forgotten it: retained messages come once then.
        self._client.on_connect = lambda client, _, flags, *more: (
            None if flags.session_present else client.subscribe("#", qos=1)
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _, __, message: self.got.append(
            (message.topic, message.payload.decode())
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def of(self, topic: str) -> list[str]:
        return [message for where, message in list(self.got) if where == topic]

    def settle(self) -> None:
        """Return when the broker knows what was received, and will not send it again."""
        self._client.publish("settled", qos=1).wait_for_publish(10)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
