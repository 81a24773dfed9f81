"""Attacks on a real run with users: from the network, from other pages, and from a checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from model.families.timesformer.network import TimesformerForVideoClassification
from model.pretraining.train import MEAN, STD, Recipe, motion_spec
from model.trained_model import TrainedModel, save
from stream.config.load import load_config
from tests.browser import new_page, open_tab
from tests.event_archive import EVIL, WAVE, fill
from tests.jpegs import PICTURE, claiming, jpeg_of
from tests.site import Site, start_site
from tests.waiting import wait_for
from ui.web.security.access import Access
from ui.web.security.passwords import hash_password

PASSWORD, TOKEN = "correct horse", "aw_of-a-program"
TABS = ("Live", "Timeline", "Events", "Tuning", "Try it", "Health", "Configuration")
TRIED = (("POST", "api/tuning"), ("POST", "api/tuning/text"))  # and nothing of it is kept
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
_MOST_MEMORY = 48 * 2**20  # bytes that an attack may cost for a moment


@dataclass(frozen=True)
class House:
    """The run, who may come in, and all operations that its API tells of."""

    site: Site
    config: Path
    anna: dict[str, str]  # the Cookie header of an operator
    vera: dict[str, str]  # and of a viewer
    operations: list[tuple[str, str]]  # method and path

    @property
    def changing(self) -> list[tuple[str, str]]:
        return [one for one in self.operations if one[0] != "GET"]

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, self.site.url(path), timeout=20, **more)

    def session(self, secret: bytes, age_s: float = 0.0, host: str = "") -> dict[str, str]:
        """What a run with that secret would have given anna."""
        dashboard = load_config(self.config, {}).dashboard
        dashboard = dashboard.model_copy(update={"port": int(self.site.host.partition(":")[2])})
        access = Access(dashboard, secret, now=lambda: time.time() - age_s)
        made = asyncio.run(access.login("anna", PASSWORD, "", host or self.site.host))
        return {"cookie": f"{access.cookie_name}={made}"}

    def memory(self) -> int:
        """Bytes that the run has in memory, without its model's process."""
        status = Path(f"/proc/{self.site.pid}/status").read_text()
        return 1024 * int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def evil_model(folder: Path) -> Path:
    """A checkpoint that knows nothing, whose labels are markup."""
    recipe = Recipe(
        size=32, patch=16, frames=4, hidden=32, layers=1, heads=2, intermediate=32, lesson=2
    )
    labels = tuple(f"{EVIL} {number}" for number in (1, 2))
    torch.manual_seed(0)
    shape = replace(
        recipe.network(), id2label=dict(enumerate(labels)), label2id=None, num_labels=None
    )
    network = TimesformerForVideoClassification(shape).eval()
    spec = replace(motion_spec(recipe, "evil"), labels=labels, background=frozenset())
    save(TrainedModel(network, spec, MEAN, STD), folder)
    return folder


def log_in(site: Site, name: str) -> dict[str, str]:
    answer = httpx.post(site.url("login"), data={"name": name, "password": PASSWORD})
    assert answer.status_code == 303
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    fill(folder / "data")
    hashed = hash_password(PASSWORD)
    config = folder / "watch.yaml"
    config.write_text(
        f"""
cameras: {{door: {{source: "demo:0"}}}}
model: {evil_model(folder / "evil")}
events: {{enter: 0.02, leave: 0.01, minimum: 0s}}
dashboard:
  visitors: {{most: 2}}
  users:
    anna: {{password: "{hashed}", role: operator}}
    vera: {{password: "{hashed}"}}
  tokens: {{home: {{hash: "sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"}}}}
"""
    )
    with start_site(folder, config=config) as site:
        token = {"authorization": f"Bearer {TOKEN}"}

        def asked(path: str) -> Any:
            return httpx.get(site.url(path), headers=token).json()

        wait_for(lambda: bool(asked("api/tuning")["model"]))
        operations = [
            (method.upper(), path[1:].replace("{name}", "door").replace("{id}", "0" * 32))
            for path, methods in asked("api/openapi.json")["paths"].items()
            for method in methods
        ]
        assert len(operations) > 20
        yield House(site, config, log_in(site, "anna"), log_in(site, "vera"), operations)


def opening(house: House, path: str, **headers: str) -> int:
    """The status with which a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as caught:
        connect(house.site.socket(path), additional_headers=headers)
    return caught.value.response.status_code


def test_nothing_is_answered_without_login(house: House) -> None:
    for method, path in [*house.operations, *(("GET", path) for path in OTHER_ROUTES)]:
        answer = house.ask(method, path)
        told = (answer.status_code, answer.text)
        assert told == (401, '{"detail": "log in first, or send a token"}'), path
    for path in SOCKETS:
        assert opening(house, path) == 401
    assert house.ask("GET", "healthz").content == b""


def test_only_cookies_of_this_run_open(house: House) -> None:
    site = house.site
    secret = (site.data / "secret").read_bytes()
    port = site.host.partition(":")[2]
    good = house.session(secret)
    assert house.ask("GET", "api/me", headers=good).json()["name"] == "anna"
    name, _, value = good["cookie"].partition("=")
    payload, _, signature = value.rpartition(".")
    bad = {
        "signed by nobody": {"cookie": f"{name}={payload}"},
        "signed anew": {"cookie": f"{name}={payload}.{signature[::-1]}"},
        "changed": {"cookie": f"{name}={payload[:-2]}A.{signature}"},
        "expired": house.session(secret, age_s=12 * 3600 + 1),
        "of the future": house.session(secret, age_s=-3600),
        "of another host": house.session(secret, host=f"localhost:{port}"),
        "of another port": house.session(secret, host="127.0.0.1:1"),
        "of another installation": house.session(b"x" * 32),
        "of no secret": house.session(b""),
    }
    for kind, cookie in bad.items():
        assert house.ask("GET", "api/me", headers=cookie).status_code == 401, kind
        assert opening(house, "api/try", **cookie) == 401, kind


def test_other_pages_can_use_no_session(house: House) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        for method, path in [*house.changing, ("POST", "logout")]:
            headers = {**house.anna, "origin": origin}
            assert house.ask(method, path, headers=headers).status_code == 403, path
        for path in SOCKETS:
            assert opening(house, path, origin=origin, **house.anna) == 403
    assert house.ask("GET", "api/me", headers=house.anna).status_code == 200


def test_a_name_that_was_turned_to_this_machine_is_refused(house: House) -> None:
    for host in ("evil.example", f"127.0.0.1.evil.example:{house.site.host.partition(':')[2]}"):
        headers = {"host": host, "authorization": f"Bearer {TOKEN}"}
        for method, path in [*house.operations, ("GET", ""), ("GET", "login"), ("POST", "login")]:
            assert house.ask(method, path, headers=headers).status_code == 400, path


@pytest.mark.parametrize("folder", ["media/clips", "media/snapshots", "ui", "assets", "static"])
def test_no_path_leads_to_other_files(house: House, folder: str) -> None:
    data = house.site.data
    (data / "clips" / f"{'a' * 32}.mp4").write_bytes(b"no row has it")
    secrets = [(data / "secret").read_bytes(), b"SQLite format", b"scrypt:", b"no row", b"root:"]
    ups = ("..", "%2e%2e", ".%2e", "%252e%252e", "..%00", "..;", "%c0%ae%c0%ae", "\\..", "..%5c")
    paths = [
        f"/{folder}{slash}{slash.join([up] * depth)}{slash}{file}"
        for up in ups
        for slash in ("/", "%2f", "%5c", "//", "%252f")
        for depth, file in (
            (1, "secret"),
            (2, "watch.yaml"),
            (1, "events.sqlite"),
            (9, "etc/passwd"),
        )
    ]
    paths += [f"/{folder}/{data / 'secret'}", f"/{folder}/{'a' * 32}.mp4", f"/{folder}/"]
    for path in paths:
        status, content = as_bytes(house, f"GET {path} HTTP/1.1", b"")
        assert status in (400, 404), path
        assert not [one for one in secrets if one in content], path


def as_bytes(
    house: House, line: str, body: bytes, *headers: str, most: int = 0, anna: bool = True
) -> tuple[int, bytes]:
    """Status and all that is answered to bytes; `body` is sent again and again, up to `most`.

    The status is 0 where the connection was cut before it could be read.
    """
    host, _, port = house.site.host.partition(":")
    lines = [line, f"Host: {house.site.host}", "Connection: close", *headers]
    if anna:
        lines.append(f"Cookie: {house.anna['cookie']}")
    sent, answer = 0, b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        with contextlib.suppress(ConnectionError):
            while sent < most:
                sent += connection.send(body)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
    assert sent < 32 * 2**20  # what both sides' sockets hold
    return int(answer.split()[1]) if answer else 0, answer


def test_viewers_change_nothing_and_operators_may(house: House) -> None:
    for method, path in house.changing:
        status = house.ask(method, path, headers=house.vera, json={}).status_code
        assert (status == 403) == ((method, path) not in TRIED), (method, path, status)
        status = house.ask(method, path, headers=house.anna, json={}).status_code
        assert status not in (401, 403, 500), (method, path, status)
    assert house.ask("GET", "api/configuration", headers=house.vera).status_code == 403
    assert house.ask("GET", "api/me", headers=house.vera).json()["may_change"] is False


@pytest.mark.parametrize("path", ["login", "api/tuning", "api/configuration", "gradio_api/upload"])
@pytest.mark.parametrize("anna", [True, False], ids=["operator", "stranger"])
def test_10_gb_are_refused_at_once(house: House, path: str, anna: bool) -> None:
    line = f"{'PUT' if path == 'api/configuration' else 'POST'} /{path} HTTP/1.1"
    chunk = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
    before = house.memory()
    for header, body in (
        (f"Content-Length: {10 * 2**30}", b"x" * 65_536),
        ("Transfer-Encoding: chunked", chunk),
    ):
        status, _ = as_bytes(house, line, body, header, most=10 * 2**30, anna=anna)
        assert status in (0, 401, 404, 413)
    assert house.memory() - before < _MOST_MEMORY


def visit(house: House) -> ClientConnection:
    return connect(house.site.socket("api/try"), additional_headers=house.vera)


def end_of(line: ClientConnection) -> int:
    """The code with which a visit ends, whatever is answered before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            line.recv(timeout=20)
    return line.close_code or 0


def test_a_flood_of_visitors_leaves_the_watch_as_it_is(house: House) -> None:
    jpeg = jpeg_of(PICTURE)
    before = house.memory()
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            lines = [stack.enter_context(visit(house)) for _ in range(30)]
            for line in lines:
                with contextlib.suppress(ConnectionClosed):
                    for _ in range(100):  # none of them waits for an answer
                        line.send(bytes(8) + jpeg)
            ends = [end_of(line) for line in lines]
        assert set(ends) <= {4429, 4503, 1006}
    for picture, code in (
        (claiming(jpeg, 65_500, 65_500), 4413),  # a bomb
        (jpeg + bytes(900_000), 4413),
        (jpeg + bytes(2**21), 1009),  # more than the server reads
    ):
        with visit(house) as line:
            with contextlib.suppress(ConnectionClosed):  # while it is still sent
                line.send(bytes(8) + picture)
            # What is on its way when the server closes may take the reason with it.
            assert end_of(line) in (code, 1006)
    assert house.memory() - before < _MOST_MEMORY
    assert house.ask("GET", "healthz", headers=house.vera).status_code == 200
    with visit(house) as line:  # and there is a place
        line.send(bytes(8) + jpeg)
        assert '"labels"' in line.recv(timeout=20)


# What is drawn on canvases can't be read back from the page.
_LISTEN = """
window.drawn = [];
const draw = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
  window.drawn.push(text);
  return draw.call(this, text, ...more);
};
"""
_IS_DRAWN = "window.drawn.some((text) => text.startsWith('● <img src=x'))"
_FAKE_WEBCAM = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def test_labels_of_a_checkpoint_are_text_on_every_tab(house: House) -> None:
    note = {"verdict": "corrected", "corrected": EVIL, "note": EVIL}
    saved = house.ask("PATCH", f"api/events/{WAVE}", headers=house.anna, json=note)
    assert saved.status_code == 200
    with new_page(*_FAKE_WEBCAM) as page:
        said: list[str] = []
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda one: said.append(one.url) if one.url.endswith("/x") else None)
        page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
        page.add_init_script(_LISTEN)
        page.goto(house.site.page)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("Password").press("Enter")
        for label in TABS:
            open_tab(page, label)
            panel = page.get_by_role("tabpanel").filter(visible=True)
            if label == "Live":
                wait_for(lambda: page.evaluate(_IS_DRAWN))  # the policy leaves no other way
            if label == "Try it":
                page.get_by_role("button", name="Use my webcam").click()
            if label == "Events":
                page.locator("aw-events tbody tr").last.click()
            if label in ("Timeline", "Events", "Tuning", "Try it"):
                expect(panel).to_contain_text("<img src=x", timeout=60_000)
            assert page.locator("[onerror], img[src=x]").count() == 0, label
        assert (said, page.title()) == ([], "Actionwatch")
