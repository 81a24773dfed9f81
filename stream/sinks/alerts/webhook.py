"""WebhookSender: alerts as JSON over HTTP, signed if there is a secret.

One thread owns a WebhookSender and its connections, except `set_state` and `wake`.
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
from stream.runtime.errors import reason_of
from stream.runtime.secrets import resolve_secrets
from stream.sinks.alerts.sender import Alert, AlertError, RejectedError, UndeliveredError
from stream.sinks.event_log.rows import iso

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_RETRYABLE = frozenset({408, 425, 429})  # 4xx statuses that are no rejection
_MAX_RETRY_AFTER_S = 3600.0  # that a receiver may ask for
_sending = threading.local()


# httpx logs the address of each request: ours are secrets.
logging.getLogger("httpx").addFilter(lambda record: not getattr(_sending, "active", False))


class WebhookSender:
    """Sends one alert's messages to a web address.

    Raises AlertError or SecretError for an invalid address.
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
        self._address = _parse_address(resolve_secrets(config.webhook))
        self._secret = resolve_secrets(config.secret).encode() if config.secret else b""
        self._client: httpx.Client | None = None
        self._wake = threading.Event()

    def send(self, alert: Alert) -> None:
        now = self._now_utc()
        message = {
            "alert": self._name,
            "id": alert.id,
            "change": alert.change,
            "event": dict(alert.event),
            "sent_at": iso(now),
        }
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "actionwatch",
            "X-Actionwatch-Id": alert.id,
        }
        if self._secret:
            timestamp = str(int(now.timestamp()))
            headers["X-Actionwatch-Timestamp"] = timestamp
            headers["X-Actionwatch-Signature"] = signature(self._secret, timestamp, body)
        _sending.active = True
        try:
            if self._client is None:
                self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=False)
            # Only the status is read: the response body might never end.
            with self._client.stream(
                "POST", self._address, content=body, headers=headers
            ) as response:
                _check_status(response, now)
        except httpx.TimeoutException as error:
            raise UndeliveredError("timed out") from error
        except httpx.HTTPError as error:
            raise UndeliveredError(reason_of(error)) from error
        except OSError as error:  # reading the trusted certificates
            raise UndeliveredError(reason_of(error)) from error
        finally:
            _sending.active = False

    def idle(self, timeout_s: float) -> None:
        self._wake.wait(timeout_s)
        self._wake.clear()

    def wake(self) -> None:
        self._wake.set()

    def set_state(self, camera: str, label: str, *, on: bool | None) -> None:
        """Does nothing: webhooks receive events, not states."""

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 of timestamp and body, which the receiver verifies; see docs/alerts.md."""
    digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def _parse_address(text: str) -> httpx.URL:
    try:
        address = httpx.URL(text)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise AlertError("webhook must be an address like https://example.org/path")
    return address


def _check_status(response: httpx.Response, now: datetime) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    answer = f"answered {status} {response.reason_phrase}".rstrip()
    if 300 <= status < 400:
        # Not a rejection: no alert is lost once the address is fixed.
        raise UndeliveredError(
            f"{answer}; redirects are not followed; configure the target address"
        )
    if 400 <= status < 500 and status not in _RETRYABLE:
        raise RejectedError(answer)
    raise UndeliveredError(
        answer, retry_after_s=parse_retry_after(response.headers.get("Retry-After", ""), now)
    )


def parse_retry_after(header: str, now: datetime) -> float:
    """Seconds from a Retry-After header: a number or a date (RFC 9110, 10.2.3); 0 if invalid."""
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            seconds = (parsedate_to_datetime(header) - now).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a time zone
            return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
