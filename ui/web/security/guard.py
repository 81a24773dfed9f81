"""The guard round every route and every WebSocket: who may ask for what, from where, how much.

Pure ASGI: Starlette's BaseHTTPMiddleware lets WebSockets pass. Headers of proxies count for
nothing: anybody can send them.
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
from ui.web.security.addresses import Addresses
from ui.web.security.body_limit import LARGEST_BODY, LimitedBody
from ui.web.security.csp import PagePolicy, without_encodings
from ui.web.security.security_headers import caching, policy, safe_headers
from ui.web.security.websocket_session import Passage

_SAFE = {"GET", "HEAD"}
_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
# What needs no identity. /healthz tells strangers that the watch goes on, or doesn't; no more.
_PUBLIC = {"/login", "/ui/login.css", "/favicon.ico", "/healthz"}
# What viewers may send: a tuning of theirs is tried; to keep one is PUT to the same path.
_FOR_VIEWERS = {
    ("POST", "/login"),
    ("POST", "/logout"),
    ("POST", "/api/tuning"),
    ("POST", "/api/tuning/text"),
}
# What is ours begins so. All else would be answered by Gradio, which may answer this much:
_OURS = re.compile(r"/(login|logout|healthz|metrics|(api|live|media|ui)/.*)")
_OF_GRADIO = {
    re.compile(r"/"): "the page",
    re.compile(r"/(assets|static)/[\w./@+-]+"): "its scripts, styles, fonts and pictures",
    re.compile(r"/theme\.css"): "its colours",
    re.compile(r"/favicon\.ico|/manifest\.json"): "what browsers look for by themselves",
}  # not its uploads, files, calls, queues, streams, proxies: no function can be called on our page
_UNCLEAN = re.compile(r"//|\\|[\x00-\x1f\x7f]|/\.{1,2}(/|$)")
_MOST_COOKIES = 16_384  # characters

_Refusal = tuple[int, str]  # HTTP status, one line


class Guard:
    """Lets requests through to `app`, with who asks in `scope["state"]["who"]`.

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
        self._addresses = Addresses(host, https=https)
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
        who = self._identify(headers)
        refusal = self._refusal(scope, headers, who)
        if refusal is not None:
            await _refuse(scope, headers, send, refusal)
            return
        scope = {**scope, "state": {**scope.get("state", {}), "who": who}}
        if scope["type"] == "websocket":
            passage = Passage(lambda: self._identify(headers) == who, receive, send, self._now)
            await self._app(scope, passage.receive, passage.send)
        elif path == "/healthz" and who is None:
            await self._app(scope, receive, _without_body(send))
        elif path == "/" and scope["method"] == "GET":
            page = PagePolicy(plain, partial(policy, path, host))
            send = self._with_headers(path, host, page.send)
            await self._app(without_encodings(scope), receive, send)
        else:

            async def refuse() -> None:
                await _refuse(scope, headers, send, _TOO_LARGE)

            await LimitedBody(receive, send, refuse).call(self._app, scope)

    def _identify(self, headers: Headers) -> Identity | None:
        cookie = cookie_of(headers, self._access.cookie_name)
        return self._access.identify(cookie, headers.get("authorization"), headers.get("host", ""))

    def _refusal(self, scope: Scope, headers: Headers, who: Identity | None) -> _Refusal | None:
        """Why a request is not let through, or None."""
        path = scope["path"]
        method = scope.get("method", "GET")  # a WebSocket begins as one
        problem = self._addresses.problem(headers.getlist("host"), self._access.names)
        if problem:
            return 400, problem
        if method not in _SAFE | _CHANGING:
            return 405, f"{method} is not answered here"
        if scope["type"] == "websocket" or method in _CHANGING:
            # A token is never sent by a browser on its own, so no page can make use of it.
            is_program = who is not None and who.program
            origin, fetch_site = headers.get("origin"), headers.get("sec-fetch-site")
            if not is_program and not self._addresses.is_same_site(
                headers["host"], origin, fetch_site
            ):
                return 403, "pages of other sites may not do this"
        if who is None and path not in _PUBLIC:
            return 401, "log in first, or send a token"
        if not _is_known(path, method):
            return 404, "there is nothing here"
        may_change = who is not None and who.may_change
        if method in _CHANGING and (method, path) not in _FOR_VIEWERS and not may_change:
            return 403, "viewers may look on but change nothing: ask an operator"
        return _too_much(headers)

    def _with_headers(self, path: str, host: str, send: Send) -> Send:
        always = safe_headers(path, host, https=self._https, port=self._port)

        async def wrapped(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for key in [key for key in headers if key.startswith("access-control-")]:
                    del headers[key]  # Gradio allows some other sites to read its answers
                headers.update(always)
                headers.setdefault("cache-control", caching(path))
            await send(message)

        return wrapped


def cookie_of(headers: Headers, name: str) -> str | None:
    """The value of a request's cookie."""
    sent = "; ".join(headers.getlist("cookie"))
    if len(sent) > _MOST_COOKIES:
        return None
    pairs = (one.partition("=") for one in sent.split(";"))
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)


def _is_known(path: str, method: str) -> bool:
    """Whether somebody may ask for it at all. `path` is decoded, as all routes see it."""
    if _UNCLEAN.search(path):
        return False
    if _OURS.fullmatch(path):
        return True
    return method in _SAFE and any(pattern.fullmatch(path) for pattern in _OF_GRADIO)


_TOO_LARGE = 413, f"more than {LARGEST_BODY} bytes"


def _too_much(headers: Headers) -> _Refusal | None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return 400, "Content-Length must be a number"
    return _TOO_LARGE if len(length) > 15 or int(length) > LARGEST_BODY else None


async def _refuse(scope: Scope, headers: Headers, send: Send, refusal: _Refusal) -> None:
    """Answer a request that is not let through; nothing more is read of it."""
    status, reason = refusal
    wants_page = "text/html" in headers.get("accept", "") and scope.get("method") == "GET"
    if status == 401 and wants_page:
        query = scope.get("query_string", b"").decode("latin-1")
        there = scope["path"] + (f"?{query}" if query else "")
        more = {"location": f"/login?next={quote(there, safe='')}"}
        status, body = 303, b""
    else:
        body = json.dumps({"detail": reason}).encode()
        more = {"content-type": "application/json"}
        if status == 401:
            more["www-authenticate"] = "Bearer"
        if status == 405:
            more["allow"] = ", ".join(sorted(_SAFE | _CHANGING))
    if scope.get("method") in _CHANGING:
        more["connection"] = "close"  # else the server would read a body that nobody wants
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 4000 + status})
            return
    sent = MutableHeaders({**more, "content-length": str(len(body))}).raw
    await send({"type": f"{kind}.start", "status": status, "headers": sent})
    await send({"type": f"{kind}.body", "body": body})


def _without_body(send: Send) -> Send:
    """Only the status of an answer, for strangers."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [(b"content-length", b"0")]}
        elif message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return wrapped
