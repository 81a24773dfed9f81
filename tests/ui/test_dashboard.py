"""The dashboard in a real browser."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from tests.browser import new_page

ROOT = Path(__file__).parents[2]


@dataclass
class Site:
    host: str

    @property
    def page(self) -> str:
        return f"http://{self.host}/"

    def live(self, camera: str) -> str:
        return f"ws://{self.host}/live/{camera}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run of the demo with its dashboard."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("site")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ui.cli", "run", "configs/demo.yaml"),
            *("--port", str(port), "--data", str(folder / "data")),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    up = threading.Event()

    def read_log() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            log.append(line)
            if "dashboard: http" in line:
                up.set()

    reader = threading.Thread(target=read_log)
    reader.start()
    try:
        assert up.wait(60), log
        yield Site(f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=5)
        reader.join()
        assert process.stderr is not None
        process.stderr.close()
    assert process.returncode == 0
    assert "Traceback" not in "".join(log), log


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    outside: list[str] = []
    with new_page() as page:
        page.on(
            "request",
            lambda request: (
                None
                if re.match(rf"(http://{site.host}/|data:|blob:)", request.url)
                else outside.append(request.url)
            ),
        )
        page.goto(site.page)
        yield page
    assert outside == []  # no request leaves the machine


def test_the_picture_moves_and_the_label_appears(page: Page) -> None:
    canvas = page.locator(".aw-camera canvas")
    expect(canvas).to_be_visible(timeout=60_000)
    # The camera's size, not the placeholder's: a picture has come.
    page.wait_for_function("document.querySelector('.aw-camera canvas')?.height === 480")
    first = canvas.evaluate("canvas => canvas.toDataURL()")
    page.wait_for_function(
        "first => document.querySelector('.aw-camera canvas').toDataURL() !== first", arg=first
    )
    expect(page.locator(".aw-labels")).to_have_text(
        re.compile(r"(still|move|wave|rotate|approach|recede).* \d+ %"), timeout=60_000
    )
    expect(page.locator(".aw-status")).to_have_text(
        re.compile(r"live · \d+\.\d frames/s · \d+\.\d predictions/s · age \d+ ms · p50 \d+ ms"),
        timeout=60_000,
    )


def test_events_come_into_the_table_by_themselves(page: Page) -> None:
    motion = re.compile(r"^(wave|approach|recede|move \w+|rotate [\w-]+)$")
    cell = page.get_by_role("gridcell", name=motion).first
    expect(cell).to_be_visible(timeout=60_000)


def header_of(message: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(message[:4], "big")
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def test_a_viewer_who_does_not_acknowledge_gets_nothing_more(site: Site) -> None:
    with connect(site.live("demo")) as viewer:
        header, jpeg = header_of(viewer.recv(timeout=10))  # type: ignore[arg-type]
        assert (header["camera"], header["state"]) == ("demo", "live")
        assert jpeg[:2] == b"\xff\xd8"
        with pytest.raises(TimeoutError):
            viewer.recv(timeout=0.5)
        viewer.send(b"any message will do")
        _, later = header_of(viewer.recv(timeout=10))  # type: ignore[arg-type]
        assert later != jpeg


def test_pages_of_other_sites_get_no_picture(site: Site) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(site.live("demo"), origin="http://evil.example")  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/", "/live/demo"])
def test_a_foreign_name_for_this_address_opens_nothing(site: Site, path: str) -> None:
    """As a page does that lets its own name point here (DNS rebinding)."""
    connection = http.client.HTTPConnection(site.host, timeout=10)
    connection.request("GET", path, headers={"Host": "evil.example"})
    assert connection.getresponse().status in (400, 404)
    connection.close()


def test_an_unknown_camera_is_refused(site: Site) -> None:
    with pytest.raises((InvalidStatus, ConnectionClosedError)):
        connect(site.live("cellar"))


def fetched(site: Site, path: str) -> str:
    connection = http.client.HTTPConnection(site.host, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()
    finally:
        connection.close()


def test_health_says_what_works(page: Page, site: Site) -> None:
    expect(page.locator(".aw-status")).to_contain_text("predictions/s", timeout=30_000)
    health = json.loads(fetched(site, "/healthz"))
    assert (health["over"], health["not_live"], health["failure"]) == (False, [], "")
    assert (health["model"], health["workers"]) == ("motion", 1)
    assert health["cameras"]["demo"]["state"] == "live"
    assert health["cameras"]["demo"]["for_s"] > 0


def test_metrics_are_as_prometheus_reads_them(page: Page, site: Site) -> None:
    expect(page.locator(".aw-labels")).not_to_be_empty(timeout=30_000)
    families = {
        family.name: family for family in text_string_to_metric_families(fetched(site, "/metrics"))
    }
    (frames,) = families["actionwatch_frames"].samples
    assert (frames.name, frames.labels["camera"]) == ("actionwatch_frames_total", "demo")
    assert frames.value > 10
    states = families["actionwatch_camera_state"].samples
    assert [one.labels["state"] for one in states if one.value] == ["live"]
    stages = {one.labels["stage"] for one in families["actionwatch_stage_seconds"].samples}
    assert stages == {"age", "capture", "inference", "judge", "line"}
    assert families["actionwatch_workers"].samples[0].value == 1
    queues = {sample.labels["of"] for sample in families["actionwatch_queue"].samples}
    assert queues >= {"clips", "predictions", "events"}
