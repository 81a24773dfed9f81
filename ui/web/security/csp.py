"""The inline scripts of Gradio's page by their hashes: no other inline script runs on it.

So markup that found its way into the page despite all care, like <img onerror=...>, does nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


def without_encodings(scope: Scope) -> Scope:
    """A request whose answer must not be compressed, so that it can be read."""
    headers = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
    return {**scope, "headers": headers}


class PagePolicy:
    """Holds the page back until it is whole, and gives it the policy for the scripts in it."""

    def __init__(self, send: Send, policy: Callable[[str], str]) -> None:
        self._send = send
        self._policy = policy
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                headers = MutableHeaders(scope=self._start)
                headers["content-security-policy"] = self._policy(script_sources(self._body))
                await self._send(self._start)
                await self._send({"type": "http.response.body", "body": self._body})
        else:
            await self._send(message)


def script_sources(page: bytes) -> str:
    """What `script-src` must allow besides 'self' for the inline scripts of an HTML page."""
    hashes = {
        base64.b64encode(hashlib.sha256(normal(script)).digest()).decode()
        for script in _INLINE.findall(page)
    }
    return " ".join(f"'sha256-{one}'" for one in sorted(hashes))


def normal(script: bytes) -> bytes:
    """A script as browsers hash it: with line ends of one kind."""
    return script.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
