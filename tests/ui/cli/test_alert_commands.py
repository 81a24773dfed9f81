"""`actionwatch alerts` in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alerting import Receiver
from tests.mosquitto import Broker, Subscriber, mosquitto
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


def alerts_test(folder: Path, text: str, *names: str) -> subprocess.CompletedProcess[str]:
    config = folder / "config.yaml"
    config.write_text(text)
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ui.cli", "alerts", "test", str(config), *names],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "TOKEN": "t0ken"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_each_alert_receives_start_and_end(tmp_path: Path, receiver: Receiver) -> None:
    text = f"""
alerts:
  phone: {{webhook: "{receiver.address}/${{TOKEN}}", secret: s3cret, notify_on: end}}
  gone: {{webhook: "http://127.0.0.1:9/${{TOKEN}}"}}
"""
    result = alerts_test(tmp_path, text)
    assert result.stdout == "phone: ok\ngone: [Errno 111] Connection refused\n"
    assert (result.stderr, result.returncode) == ("", 1)
    start, end = receiver.messages
    assert (start["change"], end["change"]) == ("start", "end")
    assert start["event"]["camera"] == "test"
    assert start["event"]["id"] == end["event"]["id"] != ""
    assert receiver.paths == ["/hook/t0ken", "/hook/t0ken"]

    result = alerts_test(tmp_path, text, "phone")
    assert (result.stdout, result.returncode) == ("phone: ok\n", 0)


def test_rejection_and_missing_secret_are_reported(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 403
    text = f"""
alerts:
  phone: {{webhook: "{receiver.address}"}}
  other: {{webhook: "{receiver.address}/${{NO_SUCH_TOKEN}}"}}
"""
    result = alerts_test(tmp_path, text)
    phone, other = result.stdout.splitlines()
    assert phone == "phone: rejected: answered 403 Forbidden"
    assert other.startswith("other: ${NO_SUCH_TOKEN}: environment variable not set")
    assert (result.stderr, result.returncode) == ("", 1)


@mosquitto
def test_broker_receives_the_events_and_retains_nothing(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    try:
        subscriber = Subscriber(broker.port)
        result = alerts_test(
            tmp_path, f"alerts: {{home: {{mqtt: 'mqtt://127.0.0.1:{broker.port}'}}}}"
        )
        assert (result.stdout, result.returncode) == ("home: ok\n", 0)
        wait_for(lambda: len(subscriber.received) >= 2)
        subscriber.stop()
        assert {topic for topic, _ in subscriber.received} == {"actionwatch/test/events"}
    finally:
        broker.kill()


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("alerts: {phone: {}}", [], ["alerts.phone", "either webhook or mqtt"]),
        ("{}", [], ["has no alerts", "add `alerts:`"]),
        ("alerts: {a: {webhook: 'http://x'}, b: {mqtt: 'mqtt://x'}}", ["c"], ["'c'", "a, b"]),
    ],
)
def test_error_is_one_line_and_exit_code_2(
    tmp_path: Path, text: str, names: list[str], words: list[str]
) -> None:
    result = alerts_test(tmp_path, text, *names)
    assert (result.stdout, result.returncode) == ("", 2)
    (line,) = result.stderr.splitlines()
    assert all(word in line for word in words)
