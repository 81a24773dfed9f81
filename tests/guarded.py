"""A small application behind Guard, for tests of authentication."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from stream.config.dashboard import DashboardConfig
from tests.conftest import Clock
from ui.web.security.access import Access
from ui.web.security.guard import Guard
from ui.web.security.login import login_routes

_STATIC = Path(__file__).parents[1] / "ui" / "web" / "static"
PASSWORD = "correct horse"
SECRET = b"s" * 32
TOKEN = "aw_of-a-program"
HERE = "127.0.0.1:7860"  # the Host header of requests


def cheap_hash(password: str) -> str:
    """A hash as `actionwatch password` prints it, but cheap to verify."""
    salt = b"0123456789abcdef"
    hashed = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    texts = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (salt, hashed))
    return ":".join(("scrypt", "16384", "8", "1", *texts))


HASH = cheap_hash(PASSWORD)


def configured(**changes: Any) -> DashboardConfig:
    """An operator anna, a viewer vera, and the API token home."""
    values: dict[str, Any] = {
        "users": {
            "anna": {"password": HASH, "role": "operator"},
            "vera": {"password": HASH, "role": "viewer"},
        },
        "tokens": {
            "home": {
                "hash": f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}",
                "role": "operator",
            }
        },
    }
    return DashboardConfig.model_validate({**values, **changes})


OPEN = DashboardConfig()


def application(access: Access) -> Starlette:
    """Own and Gradio routes, which all respond without Guard."""

    async def me(request: Request) -> Response:
        identity = request.state.identity
        return JSONResponse({"name": identity.name if identity else None})

    async def read(request: Request) -> Response:
        return JSONResponse({"bytes": len(await request.body())})

    async def page(_: Request) -> Response:
        return HTMLResponse(
            "<script>window.started = true</script><script src='/assets/index.js'></script>",
            headers={"Access-Control-Allow-Origin": "http://evil.example"},
        )

    async def health(_: Request) -> Response:
        return JSONResponse({"cameras": {"bedroom": "live"}}, 503)

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"{websocket.state.identity.name}: {text}")

    return Starlette(
        routes=[
            *login_routes(access),
            Route("/healthz", health),
            Route("/", page),
            Route("/api/{rest:path}", me, methods=["GET"]),
            Route("/api/{rest:path}", read, methods=["POST", "PUT", "PATCH", "DELETE"]),
            WebSocketRoute("/live/{camera}", echo),
            Mount("/ui", StaticFiles(directory=_STATIC)),
            Route("/{rest:path}", me, methods=["GET", "POST", "OPTIONS", "TRACE"]),
        ]
    )


def guarded(access: Access, *, host: str = "127.0.0.1", https: bool = False, **more: Any) -> Guard:
    return Guard(application(access), access, host=host, port=7860, https=https, **more)


@dataclass(frozen=True)
class Served:
    """Guard in a real server, with its clock."""

    guard: Guard
    access: Access
    clock: Clock
    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def serve() -> Iterator[Served]:
    clock = Clock()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    access = Access(configured(port=port), SECRET)
    guard = Guard(application(access), access, host="127.0.0.1", port=port, https=False, now=clock)
    server = uvicorn.Server(
        uvicorn.Config(guard, log_level="error", ws="websockets-sansio", lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="dashboard")
    thread.start()
    yield Served(guard, access, clock, port)
    server.should_exit = True
    thread.join()
    listener.close()


def ask(
    guard: Guard, method: str, path: str, *, scheme: str = "http", host: str = HERE, **more: Any
) -> httpx.Response:
    """Send one request; redirects are not followed."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=guard, client=("192.0.2.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://{host}") as client:
            return await client.request(method, path, **more)

    return asyncio.run(run())


def log_in(
    guard: Guard,
    name: str = "anna",
    password: str = PASSWORD,
    *,
    host: str = HERE,
    target: str = "",
    **more: Any,
) -> httpx.Response:
    fields = {"name": name, "password": password, "next": target}
    return ask(guard, "POST", "/login", host=host, data=fields, **more)


def cookie_from(answer: httpx.Response) -> dict[str, str]:
    """The Cookie header that a browser sends after a response."""
    assert answer.status_code == 303, answer.text
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}
