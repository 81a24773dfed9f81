"""Attacks on a real run with users: by network clients, other sites, and a checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from model.families.timesformer.configuration import TimesformerConfig
from model.families.timesformer.network import TimesformerForVideoClassification
from model.trained_model import MEAN, STD, TrainedModel, save
from stream.config.load import load_config
from stream.messages import ClipSpec
from tests.browser import new_page, open_tab
from tests.event_archive import EVIL, WAVE, fill
from tests.jpegs import IMAGE, claiming, jpeg_of
from tests.site import Site, start_site
from tests.waiting import wait_for
from ui.web.security.access import Access, hash_password

PASSWORD, TOKEN = "correct horse", "aw_of-a-program"
TABS = ("Live", "Timeline", "Events", "Tuning", "Try it", "Health", "Configuration")
PREVIEWS = (("POST", "api/tuning"), ("POST", "api/tuning/text"))  # allowed for viewers
SOCKETS = ("live/door", "api/events/live", "api/try")
OTHER_ROUTES = (
    "",
    "?view=api",
    "metrics",
    "live/door",
    "api/openapi.json",
    f"media/clips/{WAVE}.mp4",
    f"media/snapshots/{WAVE}.jpg",
    "ui/app.js",
    "ui/base.css",
    "assets/index.js",
    "static/img/logo.svg",
    "theme.css",
    "manifest.json",
    "config",
    "openapi.json",
    "docs",
    "queue/join",
    "upload",
    "gradio_api/info",
    "gradio_api/queue/data?session_hash=a",
    "gradio_api/file=/etc/passwd",
    "gradio_api/heartbeat/a",
)
_MAX_MEMORY_GROWTH = 48 * 2**20  # bytes during an attack


@dataclass(frozen=True)
class Target:
    """The run, its users' sessions, and all operations of its API."""

    site: Site
    config: Path
    anna: dict[str, str]  # Cookie header of an operator
    vera: dict[str, str]  # of a viewer
    operations: list[tuple[str, str]]  # method and path

    @property
    def changing(self) -> list[tuple[str, str]]:
        return [one for one in self.operations if one[0] != "GET"]

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, self.site.url(path), timeout=60, **more)

    def session(self, secret: bytes, age_s: float = 0.0, host: str = "") -> dict[str, str]:
        """A session cookie of anna from a run with that secret."""
        dashboard = load_config(self.config, {}).dashboard
        dashboard = dashboard.model_copy(update={"port": int(self.site.host.partition(":")[2])})
        access = Access(dashboard, secret, now=lambda: time.time() - age_s)
        session = asyncio.run(access.login("anna", PASSWORD, "", host or self.site.host))
        return {"cookie": f"{access.cookie_name}={session}"}

    def memory(self) -> int:
        """Resident memory of the run in bytes, without its worker process."""
        status = Path(f"/proc/{self.site.pid}/status").read_text()
        return 1024 * int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def evil_model(folder: Path) -> Path:
    """An untrained checkpoint whose labels are markup."""
    labels = tuple(f"{EVIL} {number}" for number in (1, 2))
    torch.manual_seed(0)
    shape = TimesformerConfig(
        image_size=32,
        patch_size=16,
        num_frames=4,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.09,
        id2label=dict(enumerate(labels)),
    )
    network = TimesformerForVideoClassification(shape).eval()
    spec = ClipSpec("evil", labels, frozenset(), 4, 1.6, 32, 32, fit="squash")
    save(TrainedModel(network, spec, MEAN, STD), folder)
    return folder


def log_in(site: Site, name: str) -> dict[str, str]:
    answer = httpx.post(site.url("login"), data={"name": name, "password": PASSWORD}, timeout=180)
    assert answer.status_code == 303
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("target")
    fill(folder / "data")
    hashed = hash_password(PASSWORD)
    config = folder / "config.yaml"
    config.write_text(
        f"""
cameras: {{door: {{source: "demo:0"}}}}
model: {evil_model(folder / "evil")}
events: {{threshold: 0.02, release_threshold: 0.01, min_duration: 0s}}
dashboard:
  try_it: {{max_sessions: 2}}
  users:
    anna: {{password: "{hashed}", role: operator}}
    vera: {{password: "{hashed}"}}
  tokens: {{home: {{hash: "sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"}}}}
"""
    )
    with start_site(folder, config=config) as site:
        token = {"authorization": f"Bearer {TOKEN}"}

        def get(path: str) -> Any:
            return httpx.get(site.url(path), headers=token, timeout=180).json()

        wait_for(lambda: bool(get("api/tuning")["model"]))
        operations = [
            (method.upper(), path[1:].replace("{name}", "door").replace("{id}", "0" * 32))
            for path, methods in get("api/openapi.json")["paths"].items()
            for method in methods
        ]
        assert len(operations) > 20
        yield Target(site, config, log_in(site, "anna"), log_in(site, "vera"), operations)


def websocket_status(target: Target, path: str, **headers: str) -> int:
    """The status code of a rejected WebSocket."""
    with pytest.raises(InvalidStatus) as caught:
        connect(target.site.socket(path), additional_headers=headers)
    return caught.value.response.status_code


def test_anonymous_requests_are_rejected(target: Target) -> None:
    for method, path in [*target.operations, *(("GET", path) for path in OTHER_ROUTES)]:
        answer = target.ask(method, path)
        response = (answer.status_code, answer.text)
        assert response == (401, '{"detail": "log in first, or send a token"}'), path
    for path in SOCKETS:
        assert websocket_status(target, path) == 401
    assert target.ask("GET", "healthz").content == b""


def test_only_cookies_of_this_run_are_accepted(target: Target) -> None:
    site = target.site
    secret = (site.data / "secret").read_bytes()
    port = site.host.partition(":")[2]
    good = target.session(secret)
    assert target.ask("GET", "api/me", headers=good).json()["name"] == "anna"
    name, _, value = good["cookie"].partition("=")
    payload, _, signature = value.rpartition(".")
    bad = {
        "unsigned": {"cookie": f"{name}={payload}"},
        "wrong signature": {"cookie": f"{name}={payload}.{signature[::-1]}"},
        "modified": {"cookie": f"{name}={payload[:-2]}A.{signature}"},
        "expired": target.session(secret, age_s=12 * 3600 + 1),
        "from the future": target.session(secret, age_s=-3600),
        "of another host": target.session(secret, host=f"localhost:{port}"),
        "of another port": target.session(secret, host="127.0.0.1:1"),
        "of another installation": target.session(b"x" * 32),
        "empty secret": target.session(b""),
    }
    for kind, cookie in bad.items():
        assert target.ask("GET", "api/me", headers=cookie).status_code == 401, kind
        assert websocket_status(target, "api/try", **cookie) == 401, kind


def test_cross_site_requests_can_not_use_a_session(target: Target) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        for method, path in [*target.changing, ("POST", "logout")]:
            headers = {**target.anna, "origin": origin}
            assert target.ask(method, path, headers=headers).status_code == 403, path
        for path in SOCKETS:
            assert websocket_status(target, path, origin=origin, **target.anna) == 403
    assert target.ask("GET", "api/me", headers=target.anna).status_code == 200


def test_dns_rebinding_is_rejected(target: Target) -> None:
    for host in ("evil.example", f"127.0.0.1.evil.example:{target.site.host.partition(':')[2]}"):
        headers = {"host": host, "authorization": f"Bearer {TOKEN}"}
        for method, path in [*target.operations, ("GET", ""), ("GET", "login"), ("POST", "login")]:
            assert target.ask(method, path, headers=headers).status_code == 400, path


@pytest.mark.parametrize("folder", ["media/clips", "media/snapshots", "ui", "assets", "static"])
def test_path_traversal_is_rejected(target: Target, folder: str) -> None:
    data = target.site.data
    (data / "clips" / f"{'a' * 32}.mp4").write_bytes(b"no row has it")
    secrets = [(data / "secret").read_bytes(), b"SQLite format", b"scrypt:", b"no row", b"root:"]
    parents = (
        "..",
        "%2e%2e",
        ".%2e",
        "%252e%252e",
        "..%00",
        "..;",
        "%c0%ae%c0%ae",
        "\\..",
        "..%5c",
    )
    paths = [
        f"/{folder}{slash}{slash.join([parent] * depth)}{slash}{file}"
        for parent in parents
        for slash in ("/", "%2f", "%5c", "//", "%252f")
        for depth, file in (
            (1, "secret"),
            (2, "config.yaml"),
            (1, "events.sqlite"),
            (9, "etc/passwd"),
        )
    ]
    paths += [f"/{folder}/{data / 'secret'}", f"/{folder}/{'a' * 32}.mp4", f"/{folder}/"]
    for path in paths:
        status, content = send_raw(target, f"GET {path} HTTP/1.1", b"")
        assert status in (400, 404), path
        assert not [one for one in secrets if one in content], path


def send_raw(
    target: Target, line: str, body: bytes, *headers: str, max_bytes: int = 0, anna: bool = True
) -> tuple[int, bytes]:
    """Send a raw request; returns status and response. `body` is repeated up to `max_bytes`.

    The status is 0 if the connection was closed before it was received.
    """
    host, _, port = target.site.host.partition(":")
    lines = [line, f"Host: {target.site.host}", "Connection: close", *headers]
    if anna:
        lines.append(f"Cookie: {target.anna['cookie']}")
    sent, answer = 0, b""
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        with contextlib.suppress(ConnectionError):
            while sent < max_bytes:
                sent += connection.send(body)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
    assert sent < 32 * 2**20  # the socket buffers of both sides
    return int(answer.split()[1]) if answer else 0, answer


def test_viewers_can_not_change_anything_and_operators_can(target: Target) -> None:
    for method, path in target.changing:
        status = target.ask(method, path, headers=target.vera, json={}).status_code
        assert (status == 403) == ((method, path) not in PREVIEWS), (method, path, status)
        status = target.ask(method, path, headers=target.anna, json={}).status_code
        assert status not in (401, 403, 500), (method, path, status)
    assert target.ask("GET", "api/configuration", headers=target.vera).status_code == 403
    assert target.ask("GET", "api/me", headers=target.vera).json()["may_change"] is False


@pytest.mark.parametrize("path", ["login", "api/tuning", "api/configuration", "gradio_api/upload"])
@pytest.mark.parametrize("anna", [True, False], ids=["operator", "anonymous"])
def test_10_gb_upload_is_rejected_early(target: Target, path: str, anna: bool) -> None:
    line = f"{'PUT' if path == 'api/configuration' else 'POST'} /{path} HTTP/1.1"
    chunk = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
    before = target.memory()
    for header, body in (
        (f"Content-Length: {10 * 2**30}", b"x" * 65_536),
        ("Transfer-Encoding: chunked", chunk),
    ):
        status, _ = send_raw(target, line, body, header, max_bytes=10 * 2**30, anna=anna)
        assert status in (0, 401, 404, 413)
    assert target.memory() - before < _MAX_MEMORY_GROWTH


def open_session(target: Target) -> ClientConnection:
    return connect(target.site.socket("api/try"), additional_headers=target.vera)


def close_code(websocket: ClientConnection) -> int:
    """The close code of a session, after all earlier messages."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            websocket.recv(timeout=60)
    return websocket.close_code or 0


def test_flood_of_sessions_does_not_affect_the_run(target: Target) -> None:
    jpeg = jpeg_of(IMAGE)
    before = target.memory()
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            websockets = [stack.enter_context(open_session(target)) for _ in range(30)]
            for websocket in websockets:
                with contextlib.suppress(ConnectionClosed):
                    for _ in range(100):  # without waiting for results
                        websocket.send(bytes(8) + jpeg)
            codes = [close_code(websocket) for websocket in websockets]
        assert set(codes) <= {4429, 4503, 1006}
    for image, code in (
        (claiming(jpeg, 65_500, 65_500), 4413),  # decompression bomb
        (jpeg + bytes(900_000), 4413),
        (jpeg + bytes(2**21), 1009),  # above the server's limit
    ):
        with open_session(target) as websocket:
            with contextlib.suppress(ConnectionClosed):  # closed while sending
                websocket.send(bytes(8) + image)
            # A close by the server while data is in flight may discard the close code.
            assert close_code(websocket) in (code, 1006)
    assert target.memory() - before < _MAX_MEMORY_GROWTH
    assert target.ask("GET", "healthz", headers=target.vera).status_code == 200
    with open_session(target) as websocket:  # a session is available
        websocket.send(bytes(8) + jpeg)
        assert '"labels"' in websocket.recv(timeout=60)


# Text on canvases can't be read back from the page.
_RECORD_CANVAS_TEXT = """
window.drawn = [];
const draw = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
  window.drawn.push(text);
  return draw.call(this, text, ...more);
};
"""
_LABEL_IS_DRAWN = "window.drawn.some((text) => text.startsWith('● <img src=x'))"
_FAKE_WEBCAM = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def test_labels_of_a_checkpoint_are_escaped_on_every_tab(target: Target) -> None:
    note = {"verdict": "corrected", "corrected": EVIL, "note": EVIL}
    saved = target.ask("PATCH", f"api/events/{WAVE}", headers=target.anna, json=note)
    assert saved.status_code == 200
    with new_page(*_FAKE_WEBCAM) as page:
        violations: list[str] = []
        page.on("dialog", lambda dialog: (violations.append(dialog.message), dialog.dismiss()))
        page.on(
            "request", lambda one: violations.append(one.url) if one.url.endswith("/x") else None
        )
        page.on("console", lambda one: violations.append(one.text) if one.type == "error" else None)
        page.add_init_script(_RECORD_CANVAS_TEXT)
        page.goto(target.site.page)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("Password").press("Enter")
        for label in TABS:
            open_tab(page, label)
            panel = page.get_by_role("tabpanel").filter(visible=True)
            if label == "Live":
                wait_for(
                    lambda: page.evaluate(_LABEL_IS_DRAWN)
                )  # wait_for_function needs eval, which the CSP forbids
            if label == "Try it":
                page.get_by_role("button", name="Use my webcam").click()
            if label == "Events":
                page.locator("aw-events tbody tr").last.click()
            if label in ("Timeline", "Events", "Tuning", "Try it"):
                expect(panel).to_contain_text("<img src=x")
            assert page.locator("[onerror], img[src=x]").count() == 0, label
        assert (violations, page.title()) == ([], "Actionwatch")
