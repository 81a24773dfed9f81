"""ASGI middleware that authorizes every request and WebSocket: identity, origin, path, size.

Pure ASGI, as Starlette's BaseHTTPMiddleware ignores WebSockets. Proxy headers are ignored:
any client can send them.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.web.security.access import Access, Identity
from ui.web.security.addresses import AllowedHosts
from ui.web.security.headers import (
    PagePolicy,
    cache_control,
    content_security_policy,
    security_headers,
    without_accept_encoding,
)

SESSION_ENDED = 4401  # close code of a WebSocket
_MAX_BODY_BYTES = 2**20  # our JSON is small, and no route accepts uploads
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
_TOO_LARGE = 413, f"more than {_MAX_BODY_BYTES} bytes"


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
            await _rejection_response(scope, headers, rejection)(scope, receive, send)
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
            await self._app(scope, _limit_body(scope["method"], receive), send)

    def _identify(self, headers: Headers) -> Identity | None:
        cookie = read_cookie(headers, self._access.cookie_name)
        return self._access.identify(cookie, headers.get("authorization"), headers.get("host", ""))

    def _check(
        self, scope: Scope, headers: Headers, identity: Identity | None
    ) -> _Rejection | None:
        """Why a request is rejected, or None if it is authorized."""
        path = scope["path"]
        method = scope.get("method", "GET")  # a WebSocket starts as a GET
        problem = self._allowed_hosts.problem(
            headers.getlist("host"), self._access.config.allowed_hosts
        )
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


def _check_length(headers: Headers) -> _Rejection | None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return 400, "Content-Length must be a number"
    return _TOO_LARGE if len(length) > 15 or int(length) > _MAX_BODY_BYTES else None


def _limit_body(method: str, receive: Receive) -> Receive:
    """A `receive` that stops at the limit. Its HTTPException becomes the application's response.

    Other methods have no use for a body: their streams read only to learn of a disconnection.
    """
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > _MAX_BODY_BYTES and method in _CHANGING:
            raise HTTPException(*_TOO_LARGE, headers={"connection": "close"})
        return message if read <= _MAX_BODY_BYTES else {"type": "http.disconnect"}

    return limited


def _rejection_response(scope: Scope, headers: Headers, rejection: _Rejection) -> Response:
    """The response to a rejected request, whose body is not read."""
    status, reason = rejection
    if status == 401 and "text/html" in headers.get("accept", "") and scope.get("method") == "GET":
        query = scope.get("query_string", b"").decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)
    content = json.dumps({"detail": reason})
    response = Response(content, status, media_type="application/json")
    if status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if status == 405:
        response.headers["allow"] = ", ".join(sorted(_SAFE | _CHANGING))
    if scope.get("method") in _CHANGING:
        response.headers["connection"] = "close"  # else the server would read the unwanted body
    return response


def _without_body(send: Send) -> Send:
    """Send only the status of a response, for anonymous clients."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [(b"content-length", b"0")]}
        elif message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return wrapped


class SessionBoundWebSocket:
    """`receive` and `send` of a WebSocket until its session ends: then it closes.

    Sessions end at logout, expiry, or removal of the user. `now` is monotonic.
    """

    def __init__(
        self,
        is_authorized: Callable[[], bool],
        receive: Receive,
        send: Send,
        now: Callable[[], float],
        *,
        check_interval_s: float = 5.0,
    ) -> None:
        self._is_authorized = is_authorized
        self._receive = receive
        self._send = send
        self._now = now
        self._check_interval_s = check_interval_s
        self._checked_at = now()
        self._ended = False

    async def receive(self) -> Message:
        pending = asyncio.ensure_future(self._receive())
        try:
            while not pending.done():
                if await self._check_ended():
                    break
                await asyncio.wait({pending}, timeout=self._check_interval_s)
            if pending.done() and (
                pending.result()["type"] == "websocket.disconnect" or not await self._check_ended()
            ):
                return pending.result()
        finally:
            pending.cancel()
        return {"type": "websocket.disconnect", "code": SESSION_ENDED, "reason": ""}

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.send":  # a handshake can't be closed with a code
            await self._check_ended()
        if not self._ended:
            await self._send(message)

    async def _check_ended(self) -> bool:
        """Whether the session has ended; closes the WebSocket when it finds that out."""
        if self._ended or self._now() - self._checked_at < self._check_interval_s:
            return self._ended
        self._checked_at = self._now()
        if not self._is_authorized():
            self._ended = True
            await self._send({"type": "websocket.close", "code": SESSION_ENDED, "reason": ""})
        return self._ended
