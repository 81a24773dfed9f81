"""The live-video WebSocket, and the Live tab in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests import burnt_clock
from tests.browser import new_page, open_tab
from tests.http_camera import HttpCamera, http_camera
from tests.site import Site, start_site
from tests.waiting import wait_for

_CAMERAS = """
cameras:
  door: {source: "demo:0", zones: {gate: {points: [[0.25, 0.25], [0.75, 0.75]]}}}
  street: {source: "%s", stall_timeout: 3s, max_retry_delay: 1s}
"""


@pytest.fixture(scope="module")
def street() -> Iterator[HttpCamera]:
    with http_camera(width=1600, height=900, fps=8.0) as camera:
        yield camera


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, street: HttpCamera) -> Iterator[Site]:
    """A run with two cameras: one with a zone, one that tests can switch off."""
    folder = tmp_path_factory.mktemp("live")
    config = folder / "cameras.yaml"
    config.write_text(_CAMERAS % street.address)
    with start_site(folder, config=config) as site:
        yield site


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    with new_page(browser=browser) as page:
        page.goto(site.page)
        expect(page.locator("aw-live .aw-camera")).to_have_count(2)
        yield page


def camera(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=f"Camera {name}")


def enlarge(page: Page, name: str) -> Locator:
    page.get_by_role("button", name=f"Enlarge {name}").click()
    expect(page.get_by_role("button", name="All cameras")).to_be_focused()
    return camera(page, name)


def wait_until_video_moves(view: Locator) -> None:
    canvas = view.get_by_role("img")
    shown = canvas.evaluate("canvas => canvas.toDataURL()")
    wait_for(lambda: canvas.evaluate("canvas => canvas.toDataURL()") != shown)


# Counts the requests of the page and their responses.
_COUNT_REQUESTS = """
    window.requests = window.responses = 0;
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (...data) {
        window.requests += 1;
        this.addEventListener("message", () => (window.responses += 1), { once: true });
        return send.apply(this, data);
    };
"""


def assert_no_requests(page: Page, site: Site) -> None:
    """The page requests nothing while another viewer receives frames."""
    # Pending responses arrive first. (The page's CSP blocks Playwright's wait_for_function.)
    wait_for(lambda: page.evaluate("requests > 0 && requests === responses"))
    before = page.evaluate("requests")
    with connect(site.socket("live/door")) as other:
        for _ in range(10):
            request_frame(other, 320)
    assert page.evaluate("requests") == before


def request_frame(viewer: ClientConnection, width: int) -> tuple[dict, bytes]:
    viewer.send(str(width))
    message = viewer.recv(timeout=60)
    assert isinstance(message, bytes)
    length = int.from_bytes(message[:4], "big")
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_viewer_receives_one_frame_per_request(site: Site) -> None:
    with connect(site.socket("live/door")) as viewer:
        with pytest.raises(TimeoutError):
            viewer.recv(timeout=0.5)  # nothing was requested
        header, jpeg = request_frame(viewer, 640)
        assert (header["camera"], header["state"], header["fault"]) == ("door", "live", "")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", header["since"])
        assert decoded(jpeg).shape == (480, 640, 3)
        with pytest.raises(TimeoutError):
            viewer.recv(timeout=0.5)
        _, later = request_frame(viewer, 640)
        assert later != jpeg


@pytest.mark.parametrize(("requested", "sent"), [(1, 320), (500, 640), (1280, 1280), (99999, 1280)])
def test_frames_have_the_next_larger_width(site: Site, requested: int, sent: int) -> None:
    with connect(site.socket("live/street")) as viewer:
        _, jpeg = request_frame(viewer, requested)
    assert decoded(jpeg).shape[1] == sent


def test_slow_viewer_gets_the_newest_frame_and_does_not_delay_others(site: Site) -> None:
    """Times are read from the frames themselves."""
    with connect(site.socket("live/street")) as slow, connect(site.socket("live/street")) as fast:
        times = []
        for index in range(30):
            if index % 10 == 0:
                _, slow_jpeg = request_frame(slow, 640)
            _, fast_jpeg = request_frame(fast, 640)
            times.append(burnt_clock.read(decoded(fast_jpeg)))
        assert times == sorted(times)
        assert abs(burnt_clock.read(decoded(slow_jpeg)) - times[20]) < 0.5
        assert (
            times[-1] - times[0] < 30
        )  # thirty frames: the fast viewer did not wait for the slow one


@pytest.mark.parametrize("invalid", ["", "0", "-1", "640.0", "x" * 1000, "999999", b"\xff\x00"])
def test_invalid_width_closes_the_connection(site: Site, invalid: str | bytes) -> None:
    with connect(site.socket("live/door")) as viewer:
        viewer.send(invalid)
        with pytest.raises(ConnectionClosed) as caught:
            viewer.recv(timeout=60)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008


def test_unknown_camera_is_rejected(site: Site) -> None:
    with pytest.raises(InvalidStatus):
        connect(site.socket("live/cellar"))


def test_camera_is_enlarged_and_escape_returns_to_the_grid(page: Page) -> None:
    view = enlarge(page, "door")
    expect(camera(page, "street")).to_be_hidden()
    wait_until_video_moves(view)
    expect(view.locator(".aw-status")).to_have_text(
        re.compile(r"live · \d+\.\d FPS · \d+\.\d inferences/s · prediction age \d+ ms")
    )
    page.keyboard.press("Escape")
    expect(camera(page, "street")).to_be_visible()
    expect(page.get_by_role("button", name="Enlarge door")).to_be_focused()
    page.keyboard.press("Enter")
    expect(camera(page, "street")).to_be_hidden()
    page.get_by_role("button", name="All cameras").click()
    expect(camera(page, "street")).to_be_visible()


def test_small_view_receives_small_frames(page: Page) -> None:
    canvas = camera(page, "street").get_by_role("img")
    wait_until_video_moves(camera(page, "street"))
    assert canvas.evaluate("canvas => canvas.width") <= 640  # not 1600
    enlarge(page, "street")
    wait_for(lambda: canvas.evaluate("canvas => canvas.width") > 640)


def test_zones_are_outlined_and_labels_are_announced(page: Page) -> None:
    view = enlarge(page, "door")
    # On the left edge of the zone, in the middle of its height: white on a dark border.
    outline = """canvas => {
        const context = canvas.getContext("2d");
        const [x, y] = [Math.round(canvas.width * 0.25), Math.round(canvas.height / 2)];
        return [...context.getImageData(x, y, 1, 1).data].slice(0, 3).join();
    }"""
    annotations = view.locator(".aw-annotations")
    wait_for(lambda: annotations.evaluate(outline) in ("255,255,255", "248,113,113"))
    expect(page.locator("aw-live [role=status]")).to_have_text(re.compile(r"door, gate: \w+"))


# Draws overlapping zones with labels; returns the drawn texts and their boxes.
_DRAW_ZONES = """async ([width, height, events]) => {
    const { drawAnnotations } = await import("/ui/live/live_drawing.js");
    const context = new OffscreenCanvas(width, height).getContext("2d");
    const boxes = [], { roundRect, fillText } = context;
    context.roundRect = (left, top, width, height, radius) => {
        boxes.push({ left, top, right: left + width, bottom: top + height });
        return roundRect.call(context, left, top, width, height, radius);
    };
    context.fillText = (text, x, y) => {
        boxes.at(-1).text = text;
        return fillText.call(context, text, x, y);
    };
    const square = (left, right) => [[left, 0.02], [right, 0.02], [right, 0.9], [left, 0.9]];
    drawAnnotations(context, width, height, {
        state: "live", waiting: "",
        zones: [
            { name: "gate", points: square(0.05, 0.5) },
            { name: "path", points: square(0.4, 0.95) },
            { name: "the whole of the yard", points: square(0, 1) },
        ],
        labels: [["gate", "approaching slowly", 0.87], ["path", "recede", 0.5]],
        events: events.map((label) => ({ zone: "path", label, duration_s: 3.2 })),
    }, 13, true);
    return boxes;
}"""


@pytest.mark.parametrize(
    ("width", "events"), [(358, []), (270, ["recede"]), (200, ["recede", "approaching slowly"])]
)
def test_zone_names_overlap_neither_each_other_nor_the_events(
    page: Page, width: int, events: list[str]
) -> None:
    boxes = page.evaluate(_DRAW_ZONES, [width, width * 3 // 4, events])
    assert len(boxes) == 3 + len(events)
    for index, box in enumerate(boxes):
        assert box["left"] >= 0
        assert box["right"] <= width
        for other in boxes[:index]:
            beside = box["right"] <= other["left"] or other["right"] <= box["left"]
            assert beside or box["bottom"] <= other["top"] or other["bottom"] <= box["top"]
    gate = boxes[0]
    assert gate["right"] - gate["left"] <= max(width * 0.45, 5 * 13) + 0.01
    assert gate["text"].startswith("gate: ap") or width < 270


def test_paused_page_requests_nothing(page: Page, site: Site) -> None:
    page.add_init_script(_COUNT_REQUESTS)
    page.reload()
    view = enlarge(page, "door")
    wait_until_video_moves(view)
    page.get_by_role("button", name="Pause").click()
    expect(view.get_by_text("paused since")).to_be_visible()
    shown = view.get_by_role("img").evaluate("canvas => canvas.toDataURL()")
    assert_no_requests(page, site)
    assert view.get_by_role("img").evaluate("canvas => canvas.toDataURL()") == shown
    page.get_by_role("button", name="Resume").click()
    expect(view.get_by_text("paused since")).to_be_hidden()
    wait_until_video_moves(view)


def test_other_tabs_request_nothing(page: Page, site: Site) -> None:
    page.add_init_script(_COUNT_REQUESTS)
    page.reload()
    wait_until_video_moves(camera(page, "door"))
    open_tab(page, "Timeline")
    expect(page.locator("aw-timeline .aw-chart")).to_be_visible()
    assert_no_requests(page, site)


@pytest.mark.parametrize("labels", [True, False])
def test_snapshot_is_named_after_the_camera(page: Page, tmp_path: Path, labels: bool) -> None:
    wait_until_video_moves(enlarge(page, "door"))
    page.get_by_label("with labels").set_checked(labels)
    with page.expect_download() as download:
        page.get_by_role("button", name="Snapshot").click()
    name = download.value.suggested_filename
    assert re.fullmatch(r"door \d{4}-\d\d-\d\d \d\d-\d\d-\d\d\.jpg", name)
    download.value.save_as(tmp_path / name)
    image = decoded((tmp_path / name).read_bytes())
    assert image.shape[1] <= 640
    # The box of the zone's name is almost only dark background and white text:
    height, width = image.shape[:2]
    corner = image[height // 4 + 2 : height // 4 + 14, width // 4 + 2 : width // 4 + 8]
    # dark or, during an event, red. Neither has green.
    assert (corner[..., 1].mean() < 90) == labels


def test_latency_is_shown_by_stage(page: Page) -> None:
    enlarge(page, "door")
    page.locator(".aw-latency summary").click()
    table = page.locator(".aw-latency table")
    expect(table.get_by_role("row")).to_have_count(6)  # five stages and the header
    expect(table).to_contain_text(re.compile(r"Inference\s*\d+ ms\s*\d+ ms"))
    expect(page.locator(".aw-latency p")).to_have_text(
        re.compile(r"was \d+ ms old when it was displayed")
    )
    bar, table_box = page.locator(".aw-latency .aw-bar").bounding_box(), table.bounding_box()
    assert bar is not None
    assert table_box is not None
    assert bar["width"] == pytest.approx(table_box["width"], abs=1)
    assert bar["y"] + bar["height"] <= table_box["y"]


def test_offline_camera_shows_since_when(page: Page, street: HttpCamera) -> None:
    view = camera(page, "street")
    wait_until_video_moves(view)
    try:
        street.switch(on=False)
        overlay = view.locator(".aw-overlay")
        expect(overlay).to_contain_text(re.compile(r"(offline|stalled) since .*\d+:\d\d:\d\d"))
        since = overlay.locator("time").get_attribute("datetime")
        assert since is not None
        assert since.endswith("Z")
    finally:
        street.switch(on=True)
    expect(overlay).to_be_hidden()
    wait_until_video_moves(view)


def test_lost_connection_is_shown_and_restored(tmp_path: Path, browser: Browser) -> None:
    with new_page(browser=browser) as page:
        with start_site(tmp_path) as site:
            page.goto(site.page)
            wait_until_video_moves(camera(page, "demo"))
        overlay = camera(page, "demo").locator(".aw-overlay")
        expect(overlay).to_contain_text("no connection to Actionwatch since")
        with start_site(tmp_path, "--port", site.host.partition(":")[2]):
            expect(overlay).to_be_hidden()
            wait_until_video_moves(camera(page, "demo"))
