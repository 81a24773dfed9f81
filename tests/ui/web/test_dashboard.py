"""The dashboard in a real browser."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from stream.synthetic.motions import MOTIONS
from tests.browser import new_page, open_tab
from tests.site import Site, start_site
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run of the demo with its dashboard."""
    with start_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    outside: list[str] = []
    with new_page(browser=browser) as page:
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


def test_live_view_shows_new_frames_and_announces_the_label(page: Page) -> None:
    canvas = page.get_by_role("img", name="Video of camera demo")
    expect(canvas).to_be_visible(timeout=60_000)
    # The camera's size, not the placeholder's: a frame was received.
    wait_for(lambda: canvas.evaluate("canvas => canvas.height") == 480)
    first = canvas.evaluate("canvas => canvas.toDataURL()")
    wait_for(lambda: canvas.evaluate("canvas => canvas.toDataURL()") != first)
    expect(page.locator("aw-live [role=status]")).to_have_text(
        re.compile(rf"demo, ({'|'.join(MOTIONS)})")
    )


def test_new_events_appear_in_the_table(page: Page) -> None:
    open_tab(page, "Events")
    motion = re.compile(r"wave|approach|recede|move \w+")
    expect(page.locator("aw-events tbody tr").first).to_contain_text(motion)


def test_cross_site_live_websocket_is_rejected(site: Site) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(site.socket("live/demo"), origin="http://evil.example")  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/", "/live/demo"])
def test_foreign_host_name_is_rejected(site: Site, path: str) -> None:
    """DNS rebinding: a foreign name resolves to this address."""
    connection = http.client.HTTPConnection(site.host, timeout=60)
    connection.request("GET", path, headers={"Host": "evil.example"})
    assert connection.getresponse().status in (400, 404)
    connection.close()


def fetch(site: Site, path: str) -> str:
    connection = http.client.HTTPConnection(site.host, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()
    finally:
        connection.close()


def test_healthz_reports_the_run(page: Page, site: Site) -> None:
    expect(page.locator("aw-live .aw-status")).to_contain_text("inferences/s")
    health = json.loads(fetch(site, "/healthz"))
    assert (health["ended"], health["not_live"], health["failure"]) == (False, [], "")
    assert (health["model"], health["workers"]) == ("motion", 1)
    assert health["cameras"]["demo"]["state"] == "live"
    assert health["cameras"]["demo"]["state_s"] > 0


def test_metrics_are_valid_for_prometheus(page: Page, site: Site) -> None:
    expect(page.locator("aw-live .aw-status")).to_contain_text("inferences/s")
    families = {
        family.name: family for family in text_string_to_metric_families(fetch(site, "/metrics"))
    }
    (frames,) = families["actionwatch_frames"].samples
    assert (frames.name, frames.labels["camera"]) == ("actionwatch_frames_total", "demo")
    assert frames.value > 10
    states = families["actionwatch_camera_state"].samples
    assert [one.labels["state"] for one in states if one.value] == ["live"]
    stages = {one.labels["stage"] for one in families["actionwatch_stage_seconds"].samples}
    assert stages == {"age", "capture", "inference", "event_detection", "transport"}
    assert families["actionwatch_workers"].samples[0].value == 1
    queues = {sample.labels["queue"] for sample in families["actionwatch_queue_length"].samples}
    assert queues >= {"clips", "predictions", "events"}
