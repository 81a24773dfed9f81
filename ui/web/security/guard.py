"""ASGI middleware that authorizes every request and WebSocket: identity, origin, path, size.

Pure ASGI, as Starlette's BaseHTTPMiddleware ignores WebSockets. Proxy headers are ignored:
any client can send them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.web.security.access import Access, Identity
from ui.web.security.addresses import AllowedHosts
from ui.web.security.body_limit import MAX_BODY_BYTES, LimitedBody
from ui.web.security.csp import PagePolicy, without_accept_encoding
from ui.web.security.security_headers import (
    cache_control,
    content_security_policy,
    security_headers,
)
from ui.web.security.websocket_session import SessionBoundWebSocket

_SAFE = {"GET", "HEAD"}
_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
# Paths without authentication. Anonymous clients get only the status code of /healthz.
_PUBLIC = {"/login", "/ui/login.css", "/favicon.ico", "/healthz"}
# Requests that viewers may send: they may preview a tuning; saving it is PUT to the same path.
_ALLOWED_FOR_VIEWERS = {
    ("POST", "/login"),
    ("POST", "/logout"),
    ("POST", "/api/tuning"),
    ("POST", "/api/tuning/text"),
}
# Our own paths. Gradio serves all others; only _GRADIO_PATHS of them are allowed.
_OWN_PATHS = re.compile(r"/(login|logout|healthz|metrics|(api|live|media|ui)/.*)")
_GRADIO_PATHS = {
    re.compile(r"/"): "the page",
    re.compile(r"/(assets|static)/[\w./@+-]+"): "its scripts, styles, fonts and images",
    re.compile(r"/theme\.css"): "its colors",
    re.compile(r"/favicon\.ico|/manifest\.json"): "requested by browsers",
}  # not its uploads, files, calls, queues, streams, proxies: our page calls no Python function
_MALFORMED_PATH = re.compile(r"//|\\|[\x00-\x1f\x7f]|/\.{1,2}(/|$)")
_MAX_COOKIE_HEADER_CHARS = 16_384

_Rejection = tuple[int, str]  # HTTP status, one-line reason


class Guard:
    """Forwards authorized requests to `app`, with the Identity in `scope["state"]["identity"]`.

    `host` and `port` are the address that the server listens on; `now` is monotonic.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        *,
        host: str,
        port: int,
        https: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._access = access
        self._allowed_hosts = AllowedHosts(host, https=https)
        self._port = port
        self._https = https
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path, host = scope["path"], headers.get("host", "")
        plain, send = send, self._with_headers(path, host, send)
        identity = self._identify(headers)
        rejection = self._check(scope, headers, identity)
        if rejection is not None:
            await _reject(scope, headers, send, rejection)
            return
        scope = {**scope, "state": {**scope.get("state", {}), "identity": identity}}
        if scope["type"] == "websocket":
            socket = SessionBoundWebSocket(
                lambda: self._identify(headers) == identity, receive, send, self._now
            )
            await self._app(scope, socket.receive, socket.send)
        elif path == "/healthz" and identity is None:
            await self._app(scope, receive, _without_body(send))
        elif path == "/" and scope["method"] == "GET":
            page = PagePolicy(plain, partial(content_security_policy, path, host))
            send = self._with_headers(path, host, page.send)
            await self._app(without_accept_encoding(scope), receive, send)
        else:

            async def reject() -> None:
                await _reject(scope, headers, send, _TOO_LARGE)

            await LimitedBody(receive, send, reject).call(self._app, scope)

    def _identify(self, headers: Headers) -> Identity | None:
        cookie = read_cookie(headers, self._access.cookie_name)
        return self._access.identify(cookie, headers.get("authorization"), headers.get("host", ""))

    def _check(
        self, scope: Scope, headers: Headers, identity: Identity | None
    ) -> _Rejection | None:
        """Why a request is rejected, or None if it is authorized."""
        path = scope["path"]
        method = scope.get("method", "GET")  # a WebSocket starts as a GET
        problem = self._allowed_hosts.problem(headers.getlist("host"), self._access.allowed_hosts)
        if problem:
            return 400, problem
        if method not in _SAFE | _CHANGING:
            return 405, f"method {method} is not supported"
        if scope["type"] == "websocket" or method in _CHANGING:
            # Browsers never send a token, so no foreign page can use it.
            is_api_token = identity is not None and identity.is_api_token
            origin, fetch_site = headers.get("origin"), headers.get("sec-fetch-site")
            if not is_api_token and not self._allowed_hosts.is_same_site(
                headers["host"], origin, fetch_site
            ):
                return 403, "cross-site requests are not allowed"
        if identity is None and path not in _PUBLIC:
            return 401, "log in first, or send a token"
        if not _is_known(path, method):
            return 404, "not found"
        may_change = identity is not None and identity.may_change
        if method in _CHANGING and (method, path) not in _ALLOWED_FOR_VIEWERS and not may_change:
            return 403, "viewers have read-only access: ask an operator"
        return _check_length(headers)

    def _with_headers(self, path: str, host: str, send: Send) -> Send:
        always = security_headers(path, host, https=self._https, port=self._port)

        async def wrapped(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for key in [key for key in headers if key.startswith("access-control-")]:
                    del headers[key]  # Gradio allows some other sites to read its answers
                headers.update(always)
                headers.setdefault("cache-control", cache_control(path))
            await send(message)

        return wrapped


def read_cookie(headers: Headers, name: str) -> str | None:
    """The value of a request's cookie, or None."""
    sent = "; ".join(headers.getlist("cookie"))
    if len(sent) > _MAX_COOKIE_HEADER_CHARS:
        return None
    pairs = (one.partition("=") for one in sent.split(";"))
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)


def _is_known(path: str, method: str) -> bool:
    """Whether a path is served at all. `path` is decoded, as the routes get it."""
    if _MALFORMED_PATH.search(path):
        return False
    if _OWN_PATHS.fullmatch(path):
        return True
    return method in _SAFE and any(pattern.fullmatch(path) for pattern in _GRADIO_PATHS)


_TOO_LARGE = 413, f"more than {MAX_BODY_BYTES} bytes"


def _check_length(headers: Headers) -> _Rejection | None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return 400, "Content-Length must be a number"
    return _TOO_LARGE if len(length) > 15 or int(length) > MAX_BODY_BYTES else None


async def _reject(scope: Scope, headers: Headers, send: Send, rejection: _Rejection) -> None:
    """Respond to a rejected request without reading its body."""
    status, reason = rejection
    wants_page = "text/html" in headers.get("accept", "") and scope.get("method") == "GET"
    if status == 401 and wants_page:
        query = scope.get("query_string", b"").decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        extra = {"location": f"/login?next={quote(target, safe='')}"}
        status, body = 303, b""
    else:
        body = json.dumps({"detail": reason}).encode()
        extra = {"content-type": "application/json"}
        if status == 401:
            extra["www-authenticate"] = "Bearer"
        if status == 405:
            extra["allow"] = ", ".join(sorted(_SAFE | _CHANGING))
    if scope.get("method") in _CHANGING:
        extra["connection"] = "close"  # else the server would read the unwanted body
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 4000 + status})
            return
    sent = MutableHeaders({**extra, "content-length": str(len(body))}).raw
    await send({"type": f"{kind}.start", "status": status, "headers": sent})
    await send({"type": f"{kind}.body", "body": body})


def _without_body(send: Send) -> Send:
    """Send only the status of a response, for anonymous clients."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [(b"content-length", b"0")]}
        elif message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return wrapped
