"""Guard in front of a small application: requests that it allows and rejects."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.conftest import Clock
from tests.guarded import (
    HERE,
    OPEN,
    SECRET,
    TOKEN,
    ask,
    cheap_hash,
    configured,
    cookie_from,
    guarded,
    log_in,
)
from ui.web.security.access import Access
from ui.web.security.guard import Guard

API_TOKEN = {"authorization": f"Bearer {TOKEN}"}
EVERY_ROUTE = [
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/assets/index.js"),
    ("GET", "/ui/app.js"),
    ("GET", "/ui/login.css/"),
    ("GET", "/api/me"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/login"),
    ("GET", "/openapi.json"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/file=/etc/passwd"),
    ("GET", "/no/such/page"),
    ("GET", "/login/"),
    ("GET", "//login"),
    ("GET", "/healthz/"),
    ("GET", "/live/door"),
    ("HEAD", "/api/events"),
    ("POST", "/api/tuning"),
    ("POST", "/logout"),
    ("DELETE", "/api/events/1"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/queue/join"),
]


@pytest.fixture
def access(clock: Clock) -> Access:
    return Access(configured(), SECRET, now=clock)


@pytest.fixture
def guard(access: Access) -> Guard:
    return guarded(access)


@pytest.fixture
def open_guard() -> Guard:
    return guarded(Access(OPEN, SECRET))


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
def test_anonymous_requests_are_rejected(guard: Guard, method: str, path: str) -> None:
    answer = ask(guard, method, path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "anna" not in answer.text


def test_anonymous_browser_is_redirected_to_the_login_page(guard: Guard) -> None:
    answer = ask(guard, "GET", "/?day=1&x=%2F", headers={"accept": "text/html,*/*"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2F%3Fday%3D1%26x%3D%252F"
    assert ask(guard, "POST", "/", headers={"accept": "text/html"}).status_code == 401


def test_anonymous_clients_get_only_the_status_of_healthz(guard: Guard) -> None:
    answer = ask(guard, "GET", "/healthz")
    assert (answer.status_code, answer.content) == (503, b"")
    answer = ask(guard, "GET", "/healthz", headers=API_TOKEN)
    assert (answer.status_code, "bedroom" in answer.text) == (503, True)


def test_session_is_valid_until_logout_or_a_password_change(guard: Guard, access: Access) -> None:
    cookie = cookie_from(log_in(guard))
    assert ask(guard, "GET", "/api/me", headers=cookie).json() == {"name": "anna"}
    several_cookies = {"cookie": f"a=1; {cookie['cookie']}; b=2"}
    assert ask(guard, "GET", "/api/me", headers=several_cookies).status_code == 200
    other_host = ask(guard, "GET", "/api/me", host="localhost:7860", headers=cookie)
    assert other_host.status_code == 401
    answer = ask(guard, "POST", "/logout", headers=cookie)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert 'actionwatch-7860=""' in answer.headers["set-cookie"]
    assert ask(guard, "GET", "/api/me", headers=cookie).status_code == 401
    cookie = cookie_from(log_in(guard))
    access.config = configured(users={"anna": {"password": cheap_hash("another")}})
    assert ask(guard, "GET", "/api/me", headers=cookie).status_code == 401


def test_only_valid_tokens_are_accepted(guard: Guard) -> None:
    assert ask(guard, "GET", "/api/me", headers=API_TOKEN).json() == {"name": "home"}
    wrong = {"authorization": f"Bearer {TOKEN}x"}
    assert ask(guard, "GET", "/api/me", headers=wrong).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_viewers_can_not_change_anything(guard: Guard, method: str) -> None:
    viewer, operator = cookie_from(log_in(guard, "vera")), cookie_from(log_in(guard))
    answer = ask(guard, method, "/api/events/1", headers=viewer)
    assert (answer.status_code, "operator" in answer.json()["detail"]) == (403, True)
    assert ask(guard, method, "/api/events/1", headers=operator).status_code == 200
    assert ask(guard, method, "/api/tuning/x", headers=viewer).status_code == 403


def test_viewers_can_read_preview_a_tuning_and_log_out(guard: Guard) -> None:
    viewer = cookie_from(log_in(guard, "vera"))
    assert ask(guard, "GET", "/api/events", headers=viewer).status_code == 200
    assert ask(guard, "POST", "/api/tuning", headers=viewer).status_code == 200
    assert ask(guard, "POST", "/logout", headers=viewer).status_code == 303


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost:7860@evil.example",
        "127.0.0.1:7860/",
        "127.0.0.1 evil",
        "192.168.1.5:7860",  # the server listens on localhost only
        "0.0.0.0:7860",
        "[::1",
        "[fe80::1%25eth0]",
        "localhost.",
        "127.1",
        "2130706433",
        "127.0.0.1:port",
        "",
    ],
)
def test_foreign_and_malformed_hosts_are_rejected(open_guard: Guard, host: str) -> None:
    for headers in ({"host": host}, {"host": host, **API_TOKEN}):
        assert ask(open_guard, "GET", "/api/me", headers=headers).status_code == 400
        assert ask(open_guard, "GET", "/healthz", headers=headers).status_code == 400


def test_two_host_headers_or_none_are_rejected(open_guard: Guard) -> None:
    two = [("host", HERE), ("host", "localhost")]
    assert ask(open_guard, "GET", "/api/me", headers=two).status_code == 400

    async def without_host() -> int:
        sent: list[dict] = []

        async def send(message: dict) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/api/me", "headers": []}
        await open_guard(scope, None, send)  # type: ignore[arg-type]
        return sent[0]["status"]

    assert asyncio.run(without_host()) == 400


def test_rejected_host_name_error_explains_the_fix(open_guard: Guard) -> None:
    answer = ask(open_guard, "GET", "/", host="cameras.example")
    assert answer.json()["detail"] == (
        "cameras.example is not an allowed host name: add it to dashboard.allowed_hosts"
    )


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:7860", "127.0.0.1:9000", "[::1]:7860", "cameras.example"]
)
def test_own_host_names_are_accepted_with_any_port(host: str) -> None:
    guard = guarded(Access(configured(allowed_hosts=["Cameras.example"]), SECRET))
    assert ask(guard, "GET", "/api/me", headers={"host": host, **API_TOKEN}).status_code == 200


def test_public_server_accepts_any_address_and_the_machine_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Attic")
    guard = guarded(Access(configured(), SECRET), host="0.0.0.0")
    for host in ("192.168.1.5:7860", "[2001:db8::1]", "attic:7860", "attic.local"):
        assert ask(guard, "GET", "/api/me", host=host, headers=API_TOKEN).status_code == 200
    assert ask(guard, "GET", "/api/me", host="evil.local", headers=API_TOKEN).status_code == 400


CROSS_SITE = [
    {"origin": "http://evil.example"},
    {"origin": "http://127.0.0.1:7861"},
    {"origin": "http://127.0.0.1"},
    {"origin": f"http://{HERE}.evil.example"},
    {"origin": f"ftp://{HERE}"},
    {"origin": "null"},
    {"origin": ""},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_cross_site_requests_are_rejected(
    guard: Guard, open_guard: Guard, headers: dict[str, str]
) -> None:
    cookie = cookie_from(log_in(guard))
    for path in ("/api/events/1", "/api/tuning", "/logout"):
        assert ask(guard, "POST", path, headers={**cookie, **headers}).status_code == 403
        assert ask(open_guard, "POST", path, headers=headers).status_code == 403
    assert log_in(guard, headers=headers).status_code == 403  # login CSRF


def test_own_page_and_api_clients_may_change_things(guard: Guard) -> None:
    cookie = cookie_from(log_in(guard))
    for headers in (
        {"origin": f"http://{HERE}"},
        {"origin": f"https://{HERE}"},  # behind a TLS proxy
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {},
    ):
        assert ask(guard, "POST", "/api/events/1", headers={**cookie, **headers}).is_success
    # Browsers never send a token, so the origin does not matter.
    foreign_origin = {"origin": "http://evil.example", **API_TOKEN}
    assert ask(guard, "POST", "/api/events/1", headers=foreign_origin).is_success


def test_http_origin_is_cross_site_for_an_https_server() -> None:
    guard = guarded(Access(configured(), SECRET), https=True)
    cookie = cookie_from(log_in(guard))
    for scheme, status in (("http", 403), ("https", 200)):
        headers = {**cookie, "origin": f"{scheme}://{HERE}"}
        assert ask(guard, "POST", "/api/events/1", headers=headers).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload",
        "/gradio_api/queue/join",
        "/gradio_api/queue/data?session_hash=a",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/a",
        "/gradio_api/proxy=http://a/",
        "/gradio_api/component_server",
        "/gradio_api/run/predict",
        "/gradio_api/call/predict",
        "/gradio_api/reset",
        "/gradio_api/cancel",
        "/gradio_api/heartbeat/abc",
        "/gradio_api/stream/a/b/c/playlist.m3u8",
        "/gradio_api/vibe-code",
        "/gradio_api/process_recording",
        "/gradio_api/deep_link",
        "/gradio_api/mcp/sse",
        "/monitoring",
        "/config",
        "/svelte/a.js",
        "/gradio%5Fapi/upload",
        "/%67radio_api/upload",
        "/assets/../gradio_api/upload",
        "/assets/%2e%2e/gradio_api/upload",
        "/assets/..%2Fgradio_api/upload",
        "/assets/..%5Cgradio_api/upload",
        "/assets/%252e%252e/gradio_api/upload",
        "/assets//etc/passwd",
        "/static/a%00.js",
        "/api/../gradio_api/upload",
        "/ui/%2e%2e/app.py",
        "/ui/./app.js",
        "/ui/..",
        "/apifoo",
        "/Login/../gradio_api/upload",
    ],
)
def test_unused_gradio_routes_are_closed_for_everybody(
    guard: Guard, open_guard: Guard, path: str
) -> None:
    cookie = cookie_from(log_in(guard))
    for method in ("GET", "POST"):
        # As sent by a client that does not normalize the path.
        for one, headers in ((guard, cookie), (open_guard, {})):
            answer = asyncio.run(send_raw(one, method, path, headers))
            assert answer == 404, (method, answer)


_NO_BODY = itertools.repeat({"type": "http.request", "body": b"", "more_body": False})


async def send_raw(
    guard: Guard,
    method: str,
    target: str,
    headers: dict[str, str],
    chunks: Iterator[dict] = _NO_BODY,
) -> int:
    """Send a request with an unnormalized target, as uvicorn does; returns the status."""
    path, _, query = target.partition("?")
    sent: list[dict] = []

    async def receive() -> dict:
        await asyncio.sleep(0)
        return next(chunks)

    async def send(message: dict) -> None:
        sent.append(message)

    all_headers = {"host": HERE, **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(key.encode(), value.encode()) for key, value in all_headers.items()],
    }
    await guard(scope, receive, send)  # type: ignore[arg-type]
    return sent[0]["status"]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_rejected(open_guard: Guard, method: str) -> None:
    answer = ask(open_guard, method, "/api/me", headers={"origin": "http://evil.example"})
    assert answer.status_code == 405
    assert not [key for key in answer.headers if key.startswith("access-control-")]


def test_body_size_is_limited_with_and_without_content_length(open_guard: Guard) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 65_536

    def post(**more: object) -> httpx.Response:
        return ask(open_guard, "POST", "/api/events/1", **more)  # type: ignore[arg-type]

    assert post(content=b"x" * 2**20).json() == {"bytes": 2**20}
    declared = post(headers={"content-length": str(10 * 2**30)}, content=endless())
    assert (declared.status_code, read) == (413, 0)
    assert declared.headers["connection"] == "close"
    streamed = post(content=endless())
    assert streamed.status_code == 413
    assert read <= 17
    assert post(headers={"content-length": "-1"}, content=b"").status_code == 400
    assert post(headers={"content-length": "9" * 5000}, content=b"").status_code == 413


def test_oversized_body_of_a_download_is_no_error_of_the_server() -> None:
    async def download(_: Request) -> Response:
        async def rows() -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0)
                yield b"row\n"

        return StreamingResponse(rows())

    app = Starlette(routes=[Route("/api/events", download)])
    guard = Guard(app, Access(OPEN, b""), host="127.0.0.1", port=7860, https=False)
    chunks = itertools.repeat({"type": "http.request", "body": b"x" * 65_536, "more_body": True})
    assert asyncio.run(send_raw(guard, "GET", "/api/events", {}, chunks)) == 200
