"""Webhook: alerts as JSON by HTTP, signed where there is a secret.

A Webhook and its connections belong to one thread, except `show` and `wake`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx

from stream.config.events import AlertConfig
from stream.runtime.secrets import resolved
from stream.sinks.alerts.sender import Alert, RefusedError, UndeliveredError
from stream.sinks.event_log.rows import iso
from stream.workers.transport import TransportError

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_LATER = frozenset({408, 425, 429})  # of the refusals those that are none
_LONGEST_AFTER_S = 3600.0  # that a receiver may put us off
_sending = threading.local()


class _NoAddresses(logging.Filter):
    """httpx logs the address of each request; ours are secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_sending, "now", False)


logging.getLogger("httpx").addFilter(_NoAddresses())


class Webhook:
    """The sender of one alert that goes to a web address.

    Raises TransportError or SourceError for an address that can't be one.
    """

    def __init__(
        self,
        name: str,
        config: AlertConfig,
        *,
        now_utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        assert config.webhook is not None
        self._name, self._now_utc = name, now_utc
        self._address = _address(resolved(config.webhook))
        self._secret = resolved(config.secret).encode() if config.secret else b""
        self._client: httpx.Client | None = None
        self._woken = threading.Event()

    def send(self, alert: Alert) -> None:
        now = self._now_utc()
        said = {
            "alert": self._name,
            "id": alert.id,
            "change": alert.change,
            "event": dict(alert.event),
            "sent_at": iso(now),
        }
        body = json.dumps(said, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "actionwatch",
            "X-Actionwatch-Id": alert.id,
        }
        if self._secret:
            timestamp = str(int(now.timestamp()))
            headers["X-Actionwatch-Timestamp"] = timestamp
            headers["X-Actionwatch-Signature"] = signature(self._secret, timestamp, body)
        _sending.now = True
        try:
            if self._client is None:
                self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=False)
            # What the receiver answers beyond its status is not read: it might never end.
            with self._client.stream(
                "POST", self._address, content=body, headers=headers
            ) as response:
                _judge(response, now)
        except httpx.TimeoutException as error:
            raise UndeliveredError("no answer in time") from error
        except httpx.HTTPError as error:
            raise UndeliveredError(str(error) or type(error).__name__) from error
        except OSError as error:  # of the certificates that are to be trusted
            raise UndeliveredError(error.strerror or type(error).__name__) from error
        finally:
            _sending.now = False

    def rest(self, timeout_s: float) -> None:
        self._woken.wait(timeout_s)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def show(self, camera: str, label: str, *, on: bool | None) -> None:
        """Nothing: a webhook is told of events, not of states."""

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What the receiver reckons too, to know that it was us; see docs/alerts.md."""
    signed = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"


def _address(text: str) -> httpx.URL:
    try:
        address = httpx.URL(text)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise TransportError("webhook must be an address like https://example.org/path")
    return address


def _judge(response: httpx.Response, now: datetime) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    answer = f"answered {status} {response.reason_phrase}".rstrip()
    if 300 <= status < 400:
        # Not refused: when the address is mended, nothing is lost.
        raise UndeliveredError(
            f"{answer}; redirects are not followed, give the address that it leads to"
        )
    if 400 <= status < 500 and status not in _LATER:
        raise RefusedError(answer)
    raise UndeliveredError(
        answer, after_s=retry_after_s(response.headers.get("Retry-After", ""), now)
    )


def retry_after_s(header: str, now: datetime) -> float:
    """Seconds from a Retry-After header, which holds them or a date (RFC 9110, 10.2.3)."""
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            seconds = (parsedate_to_datetime(header) - now).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a zone
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_AFTER_S)
