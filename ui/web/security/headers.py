"""The security headers of responses, and the Content-Security-Policy of Gradio's page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

# Gradio creates styles at run time, so they need 'unsafe-inline'. 'unsafe-eval' is not needed, as
# no gr.HTML of ours has js_on_load. Inline scripts are allowed only if the served HTML has them.
_PAGE = (
    "default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
    "connect-src {connect}; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_LOGIN = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": with that, browsers send "Origin: null" with the form of the login page.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), fullscreen=(self), microphone=(), geolocation=(), "
    "display-capture=(), payment=(), usb=(), serial=(), midi=()",
}
_VERSIONED = ("/assets/", "/static/", "/svelte/")  # the content of a name never changes
_OWN_ASSETS = "/ui/"  # may change with an update: browsers revalidate, and get 304
_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


def security_headers(path: str, host: str, *, https: bool, port: int) -> dict[str, str]:
    """Headers of the response for `path`; `host` is the Host header."""
    headers = {**_ALWAYS, "content-security-policy": content_security_policy(path, host)}
    if https and port == 443:
        # On another port it would force https on other servers of this machine too.
        headers["strict-transport-security"] = "max-age=31536000"
    return headers


def content_security_policy(path: str, host: str, scripts: str = "") -> str:
    """Content-Security-Policy; `scripts` are additional script sources."""
    if path == "/login":
        return _LOGIN
    # WebSockets too: 'self' covers them in new browsers only.
    connect = f"'self' ws://{host} wss://{host}" if host else "'self'"
    return _PAGE.format(connect=connect, scripts=scripts)


def cache_control(path: str) -> str:
    """Cache-Control for a path whose response does not set it."""
    if path.startswith(_VERSIONED):
        return "private, max-age=86400"
    return "no-cache" if path.startswith(_OWN_ASSETS) else "no-store"


def without_accept_encoding(scope: Scope) -> Scope:
    """A request whose response is not compressed, so that its scripts can be hashed."""
    headers = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
    return {**scope, "headers": headers}


class PagePolicy:
    """Buffers the page until it is complete, and allows its inline scripts by their hashes.

    No other inline script runs: injected markup, like <img onerror=...>, does nothing.
    """

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
    hashes = set()
    for script in _INLINE.findall(page):
        as_hashed = script.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # by browsers
        hashes.add(base64.b64encode(hashlib.sha256(as_hashed).digest()).decode())
    return " ".join(f"'sha256-{one}'" for one in sorted(hashes))
