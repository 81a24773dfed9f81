from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stream.config.events import AlertConfig
from stream.sinks.alerts.sender import RefusedError, UndeliveredError
from stream.sinks.alerts.webhook import Webhook, retry_after_s
from stream.sinks.event_log.rows import COLUMNS
from stream.workers.transport import TransportError
from tests.alerting import Receiver, alert

NOW = datetime(2026, 1, 31, 8, tzinfo=timezone.utc)
DOCS = Path(__file__).parents[4] / "docs" / "alerts.md"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def send(address: str, secret: str | None = None, now: datetime = NOW) -> None:
    webhook = Webhook("phone", AlertConfig(webhook=address, secret=secret), now_utc=lambda: now)
    try:
        webhook.send(alert(1))
    finally:
        webhook.close()


def test_an_alert_comes_as_json_with_the_columns_of_the_log(receiver: Receiver) -> None:
    send(receiver.address)
    (message,) = receiver.messages
    assert message["alert"] == "phone"
    assert (message["id"], message["change"]) == ("e1-start", "start")
    assert message["sent_at"] == "2026-01-31T08:00:00.000Z"
    assert tuple(message["event"]) == COLUMNS
    assert message["event"]["label"] == 'öffnen, "jetzt"\n'
    (headers,) = receiver.requests
    assert headers["X-Actionwatch-Id"] == "e1-start"
    assert headers["Content-Type"] == "application/json"
    assert "X-Actionwatch-Signature" not in headers


def test_the_signature_is_verified_by_the_lines_of_the_docs(receiver: Receiver) -> None:
    (code,) = re.findall(r"```python\n(import hashlib.*?)```", DOCS.read_text(), re.DOTALL)
    there: dict = {}
    exec(code, there)
    is_genuine = there["is_genuine"]
    send(receiver.address, "s3cret", datetime.now(timezone.utc))
    (headers,), (body,) = receiver.requests, receiver.bodies
    assert is_genuine(b"s3cret", headers, body)
    assert not is_genuine(b"other", headers, body)
    assert not is_genuine(b"s3cret", headers, body + b" ")
    long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    send(receiver.address, "s3cret", long_ago)
    assert not is_genuine(b"s3cret", receiver.requests[1], receiver.bodies[1])


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_a_refusal_is_final(receiver: Receiver, status: int) -> None:
    receiver.answer = status
    with pytest.raises(RefusedError, match=str(status)):
        send(receiver.address)


@pytest.mark.parametrize("status", [302, 308, 408, 425, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again_later(receiver: Receiver, status: int) -> None:
    receiver.answer, receiver.headers = status, {"Location": "/elsewhere"}
    with pytest.raises(UndeliveredError, match=str(status)):
        send(receiver.address)
    assert receiver.paths == ["/hook"]  # redirects are not followed


def test_a_receiver_that_is_away_or_breaks_off_is_tried_later(receiver: Receiver) -> None:
    receiver.answer = 0
    with pytest.raises(UndeliveredError, match="disconnected"):
        send(receiver.address)
    receiver.stop()
    with pytest.raises(UndeliveredError, match="refused"):
        send(receiver.address)
    receiver.start()


def test_the_receiver_says_when_to_come_again(receiver: Receiver) -> None:
    receiver.answer, receiver.headers = 429, {"Retry-After": "17"}
    with pytest.raises(UndeliveredError) as caught:
        send(receiver.address)
    assert caught.value.after_s == 17


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("Sat, 31 Jan 2026 08:01:30 GMT", 90),
        ("Sat, 31 Jan 2026 07:00:00 GMT", 0),
        ("999999999", 3600),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_an_hour(header: str, seconds: float) -> None:
    assert retry_after_s(header, NOW) == seconds


def test_user_and_password_of_the_address_become_basic_authentication(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_PASSWORD", "p@ss/word")
    send(receiver.address.replace("//", "//watch:${HOOK_PASSWORD}@"))
    assert receiver.requests[0]["Authorization"] == "Basic d2F0Y2g6cEBzcy93b3Jk"


def test_neither_address_nor_secret_is_logged(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    address = receiver.address.replace("//", "//u:passw0rd@") + "/${HOOK_TOKEN}?key=k3y"
    send(address, "s3cret")
    assert receiver.paths == ["/hook/t0ken?key=k3y"]
    for status in (0, 404, 500):
        receiver.answer = status
        with pytest.raises((RefusedError, UndeliveredError)) as caught:
            send(address, "s3cret")
        caplog.records.append(
            logging.makeLogRecord({"msg": str(caught.value)})  # the courier logs it
        )
    told = json.dumps([record.getMessage() for record in caplog.records])
    for secret in ("passw0rd", "t0ken", "k3y", "s3cret", "cGFzc3cwcmQ"):
        assert secret not in told


@pytest.mark.parametrize("address", ["ftp://u:pw@x/", "https://", "x", "http://u:pw@x:port/"])
def test_an_address_that_is_none_is_named_without_showing_it(address: str) -> None:
    with pytest.raises(TransportError, match="webhook must be an address like https") as caught:
        Webhook("phone", AlertConfig(webhook=address))
    assert "pw" not in str(caught.value)
