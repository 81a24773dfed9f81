from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stream.config.events import AlertConfig
from stream.sinks.alerts.sender import AlertError, RejectedError, UndeliveredError
from stream.sinks.alerts.webhook import WebhookSender, parse_retry_after
from stream.sinks.event_log.rows import COLUMNS
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
    webhook = WebhookSender(
        "phone", AlertConfig(webhook=address, secret=secret), now_utc=lambda: now
    )
    try:
        webhook.send(alert(1))
    finally:
        webhook.close()


def test_alert_is_json_with_the_columns_of_the_event_log(receiver: Receiver) -> None:
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


def test_code_of_the_docs_verifies_the_signature(receiver: Receiver) -> None:
    (code,) = re.findall(r"```python\n(import hashlib.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    is_genuine = names["is_genuine"]
    send(receiver.address, "s3cret", datetime.now(timezone.utc))
    (headers,), (body,) = receiver.requests, receiver.bodies
    assert is_genuine(b"s3cret", headers, body)
    assert not is_genuine(b"other", headers, body)
    assert not is_genuine(b"s3cret", headers, body + b" ")
    long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    send(receiver.address, "s3cret", long_ago)
    assert not is_genuine(b"s3cret", receiver.requests[1], receiver.bodies[1])


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_client_error_is_a_rejection(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(RejectedError, match=str(status)):
        send(receiver.address)


@pytest.mark.parametrize("status", [302, 308, 408, 425, 429, 500, 502, 503])
def test_temporary_error_is_retried(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.headers = status, {"Location": "/elsewhere"}
    with pytest.raises(UndeliveredError, match=str(status)):
        send(receiver.address)
    assert receiver.paths == ["/hook"]  # redirects are not followed


def test_unreachable_or_disconnecting_receiver_is_retried(receiver: Receiver) -> None:
    receiver.status = 0
    with pytest.raises(UndeliveredError, match="disconnected"):
        send(receiver.address)
    receiver.stop()
    with pytest.raises(UndeliveredError, match="refused"):
        send(receiver.address)
    receiver.start()


def test_receiver_sets_the_retry_delay(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "17"}
    with pytest.raises(UndeliveredError) as caught:
        send(receiver.address)
    assert caught.value.retry_after_s == 17


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
def test_retry_after_is_seconds_or_a_date_up_to_an_hour(header: str, seconds: float) -> None:
    assert parse_retry_after(header, NOW) == seconds


def test_user_and_password_in_the_address_become_basic_authentication(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_PASSWORD", "p@ss/word")
    send(receiver.address.replace("//", "//watch:${HOOK_PASSWORD}@"))
    assert receiver.requests[0]["Authorization"] == "Basic d2F0Y2g6cEBzcy93b3Jk"


def test_address_and_secret_are_never_logged(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    address = receiver.address.replace("//", "//u:passw0rd@") + "/${HOOK_TOKEN}?key=k3y"
    send(address, "s3cret")
    assert receiver.paths == ["/hook/t0ken?key=k3y"]
    for status in (0, 404, 500):
        receiver.status = status
        with pytest.raises((RejectedError, UndeliveredError)) as caught:
            send(address, "s3cret")
        caplog.records.append(
            logging.makeLogRecord({"msg": str(caught.value)})  # the dispatcher logs it
        )
    logged = json.dumps([record.getMessage() for record in caplog.records])
    for secret in ("passw0rd", "t0ken", "k3y", "s3cret", "cGFzc3cwcmQ"):
        assert secret not in logged


@pytest.mark.parametrize("address", ["ftp://u:pw@x/", "https://", "x", "http://u:pw@x:port/"])
def test_invalid_address_is_reported_without_showing_it(address: str) -> None:
    with pytest.raises(AlertError, match="webhook must be an address like https") as caught:
        WebhookSender("phone", AlertConfig(webhook=address))
    assert "pw" not in str(caught.value)
