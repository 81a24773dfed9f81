"""Guard in a real server: raw requests and WebSockets."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.guarded import TOKEN, Served, ask, configured, cookie_from, log_in, serve


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as served:
        yield served


def cookie(served: Served, name: str = "anna") -> dict[str, str]:
    return cookie_from(log_in(served.guard, name, host=served.host))


def live(served: Served, **headers: str) -> ClientConnection:
    return connect(f"ws://{served.host}/live/door", additional_headers=headers)


def exchange(
    served: Served, request: str, body: bytes = b"", *, max_bytes: int = 0
) -> tuple[str, int]:
    """Send a raw request; returns the response and the number of body bytes sent.

    `body` is repeated up to `max_bytes`.
    """
    sent = 0
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        head = f"{request}\r\nConnection: close\r\n\r\n".replace("HERE", served.host)
        connection.sendall(head.encode("latin-1"))
        with contextlib.suppress(ConnectionError):
            while sent < max_bytes:
                sent += connection.send(body)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
    return answer.decode("latin-1"), sent


def rejection(served: Served, **headers: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught, live(served, **headers):
        pass
    response = caught.value.response
    return response.status_code, (response.body or b"").decode()


def test_websocket_opens_with_a_session_or_a_token(served: Served) -> None:
    for headers, name in (
        ({**cookie(served, "vera"), "origin": f"http://{served.host}"}, "vera"),
        ({"authorization": f"Bearer {TOKEN}"}, "home"),
    ):
        with live(served, **headers) as websocket:
            websocket.send("hello")
            assert websocket.recv(timeout=60) == f"{name}: hello"


def test_anonymous_and_cross_site_websockets_are_rejected(served: Served) -> None:
    session = cookie(served)
    assert rejection(served) == (401, '{"detail": "log in first, or send a token"}')
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{served.port + 1}"):
        status, _ = rejection(served, origin=origin, **session)
        assert status == 403
    wrong = {"cookie": session["cookie"][:-9] + "AAAAAAAAA"}
    assert rejection(served, **wrong)[0] == 401


def test_websocket_with_a_foreign_host_is_rejected(served: Served) -> None:
    with (
        socket.create_connection(("127.0.0.1", served.port)) as connection,
        pytest.raises(InvalidStatus) as caught,
        connect(
            f"ws://evil.example:{served.port}/live/door",
            sock=connection,
            additional_headers=cookie(served),
        ),
    ):
        pass
    assert caught.value.response.status_code == 400


@pytest.mark.parametrize("how", ["logout", "another role"])
def test_open_websocket_closes_with_its_session(served: Served, how: str) -> None:
    session = cookie(served)
    with live(served, **session) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=60) == "anna: hello"
        if how == "logout":
            ask(served.guard, "POST", "/logout", host=served.host, headers=session)
        else:
            users = configured().users
            served.access.config = configured(users={**users, "anna": users["vera"]})
        served.clock.seconds += 5.0
        websocket.send("still there?")
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=60)
        assert websocket.close_code == 4401
    served.access.config = configured()


def test_10_gb_upload_is_rejected_early_with_and_without_content_length(served: Served) -> None:
    token = f"POST /api/events/1 HTTP/1.1\r\nHost: HERE\r\nAuthorization: Bearer {TOKEN}"
    anonymous = "POST /api/events/1 HTTP/1.1\r\nHost: HERE"
    chunk = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
    for head, status in ((token, 413), (anonymous, 401)):
        for length, body in (
            (f"Content-Length: {10 * 2**30}", b"x" * 65_536),
            ("Transfer-Encoding: chunked", chunk),
        ):
            answer, sent = exchange(served, f"{head}\r\n{length}", body, max_bytes=10 * 2**30)
            # A close by the server while data is in flight may discard the response.
            assert answer == "" or answer.startswith(f"HTTP/1.1 {status} ")
            assert sent < 32 * 2**20  # the socket buffers of both sides
        answer, _ = exchange(served, f"{head}\r\nContent-Length: {10 * 2**30}")
        assert answer.startswith(f"HTTP/1.1 {status} ")


@pytest.mark.parametrize(
    ("request_line", "hosts", "status"),
    [
        ("GET /api/me HTTP/1.1", ["HERE"], 200),
        ("GET /api/me HTTP/1.1", [], 400),
        ("GET /api/me HTTP/1.0", [], 400),
        ("GET /api/me HTTP/1.1", ["HERE", "evil.example"], 400),
        ("GET http://evil.example/api/me HTTP/1.1", ["evil.example"], 400),
        ("GET /api/../gradio_api/upload HTTP/1.1", ["HERE"], 404),
        ("GET /api/%2e%2e/gradio_api/upload HTTP/1.1", ["HERE"], 404),
        ("GET /api/..%2fgradio_api/upload HTTP/1.1", ["HERE"], 404),
        ("GET /gradio%5fapi/upload HTTP/1.1", ["HERE"], 404),
        ("GET //api/me HTTP/1.1", ["HERE"], 404),
        ("GET /api%00/me HTTP/1.1", ["HERE"], 404),
        ("GET /assets/..\\..\\x HTTP/1.1", ["HERE"], 404),
        ("OPTIONS * HTTP/1.1", ["HERE"], 405),
    ],
)
def test_malformed_raw_requests(
    served: Served, request_line: str, hosts: list[str], status: int
) -> None:
    lines = [request_line, *(f"Host: {host}" for host in hosts), f"Authorization: Bearer {TOKEN}"]
    answer, _ = exchange(served, "\r\n".join(lines))
    assert re.match(r"HTTP/1.1 (\d+)", answer), answer
    assert int(answer.split()[1]) == status
