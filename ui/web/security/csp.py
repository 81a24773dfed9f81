"""Adds a Content-Security-Policy that allows the inline scripts of Gradio's page by their hashes.

No other inline script runs: injected markup, like <img onerror=...>, does nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


def without_accept_encoding(scope: Scope) -> Scope:
    """A request whose response is not compressed, so that its scripts can be hashed."""
    headers = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
    return {**scope, "headers": headers}


class PagePolicy:
    """Buffers the page until it is complete, and adds the policy for its scripts."""

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
                headers["content-security-policy"] = self._policy(inline_script_hashes(self._body))
                await self._send(self._start)
                await self._send({"type": "http.response.body", "body": self._body})
        else:
            await self._send(message)


def inline_script_hashes(page: bytes) -> str:
    """The hashes that `script-src` needs for the inline scripts of an HTML page."""
    hashes = {
        base64.b64encode(hashlib.sha256(normalize_newlines(script)).digest()).decode()
        for script in _INLINE.findall(page)
    }
    return " ".join(f"'sha256-{one}'" for one in sorted(hashes))


def normalize_newlines(script: bytes) -> bytes:
    """A script as browsers hash it: each line ends with \\n."""
    return script.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
