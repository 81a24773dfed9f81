"""`actionwatch alerts` as a person meets it: in a process of its own."""

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
PROGRAM = "from ui.cli.alert_commands import alerts_app; alerts_app(prog_name='actionwatch alerts')"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


def alerts_test(folder: Path, text: str, *names: str) -> subprocess.CompletedProcess[str]:
    config = folder / "config.yaml"
    config.write_text(text)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, "test", str(config), *names],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "TOKEN": "t0ken"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_each_alert_is_sent_start_and_end(tmp_path: Path, receiver: Receiver) -> None:
    text = f"""
alerts:
  phone: {{webhook: "{receiver.address}/${{TOKEN}}", secret: s3cret, when: end}}
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


def test_a_refusal_and_a_secret_that_is_not_there_are_told(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = 403
    text = f"""
alerts:
  phone: {{webhook: "{receiver.address}"}}
  other: {{webhook: "{receiver.address}/${{NO_SUCH_TOKEN}}"}}
"""
    result = alerts_test(tmp_path, text)
    phone, other = result.stdout.splitlines()
    assert phone == "phone: refused: answered 403 Forbidden"
    assert other.startswith("other: ${NO_SUCH_TOKEN}: there is no environment variable")
    assert (result.stderr, result.returncode) == ("", 1)


@mosquitto
def test_a_broker_gets_the_events_and_keeps_nothing(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    try:
        subscriber = Subscriber(broker.port)
        result = alerts_test(
            tmp_path, f"alerts: {{home: {{mqtt: 'mqtt://127.0.0.1:{broker.port}'}}}}"
        )
        assert (result.stdout, result.returncode) == ("home: ok\n", 0)
        wait_for(lambda: len(subscriber.got) >= 2)
        subscriber.stop()
        assert {topic for topic, _ in subscriber.got} == {"actionwatch/test/events"}
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
def test_a_mistake_gets_one_line_and_exit_code_2(
    tmp_path: Path, text: str, names: list[str], words: list[str]
) -> None:
    result = alerts_test(tmp_path, text, *names)
    assert (result.stdout, result.returncode) == ("", 2)
    (line,) = result.stderr.splitlines()
    assert all(word in line for word in words)
