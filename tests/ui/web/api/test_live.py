"""The live-video line, and the Live tab in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
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
  street: {source: "%s", stall_after: 3s, retry_max: 1s}
"""


@pytest.fixture(autouse=True, scope="module")
def patience() -> Iterator[None]:
    expect.set_options(timeout=30_000)
    yield
    expect.set_options()


@pytest.fixture(scope="module")
def street() -> Iterator[HttpCamera]:
    with http_camera(width=1600, height=900, fps=8.0) as camera:
        yield camera


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, street: HttpCamera) -> Iterator[Site]:
    """A watch of two cameras: one with a zone, one that a test may switch off."""
    folder = tmp_path_factory.mktemp("live")
    config = folder / "cameras.yaml"
    config.write_text(_CAMERAS % street.address)
    with start_site(folder, config=config) as site:
        yield site


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with new_page() as page:
        page.goto(site.page)
        expect(page.locator("aw-live .aw-camera")).to_have_count(2)
        yield page


def camera(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=f"Camera {name}")


def enlarge(page: Page, name: str) -> Locator:
    page.get_by_role("button", name=f"Show {name} large").click()
    expect(page.get_by_role("button", name="All cameras")).to_be_focused()
    return camera(page, name)


def wait_until_it_moves(view: Locator) -> None:
    canvas = view.get_by_role("img")
    shown = canvas.evaluate("canvas => canvas.toDataURL()")
    wait_for(lambda: canvas.evaluate("canvas => canvas.toDataURL()") != shown)


# How many pictures the page asked for, and how many answers came.
_COUNTING = """
    window.asked = window.answered = 0;
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (...data) {
        window.asked += 1;
        this.addEventListener("message", () => (window.answered += 1), { once: true });
        return send.apply(this, data);
    };
"""


def asks_for_nothing(page: Page, site: Site) -> None:
    """While somebody else gets one picture after the other, this page does not even ask."""
    # What was asked for before is answered. (The page's CSP forbids Playwright's own waiting.)
    wait_for(lambda: page.evaluate("asked > 0 && asked === answered"))
    before = page.evaluate("asked")
    with connect(site.socket("live/door")) as other:
        for _ in range(10):
            answer(other, 320)
    assert page.evaluate("asked") == before


def answer(viewer: ClientConnection, width: int) -> tuple[dict, bytes]:
    viewer.send(str(width))
    message = viewer.recv(timeout=10)
    assert isinstance(message, bytes)
    length = int.from_bytes(message[:4], "big")
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def test_a_viewer_gets_one_picture_for_each_that_it_asks_for(site: Site) -> None:
    with connect(site.socket("live/door")) as viewer:
        with pytest.raises(TimeoutError):
            viewer.recv(timeout=0.5)  # nothing was asked for
        header, jpeg = answer(viewer, 640)
        assert (header["camera"], header["state"], header["fault"]) == ("door", "live", "")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", header["since"])
        assert decoded(jpeg).shape == (480, 640, 3)
        with pytest.raises(TimeoutError):
            viewer.recv(timeout=0.5)
        _, later = answer(viewer, 640)
        assert later != jpeg


@pytest.mark.parametrize(("asked", "given"), [(1, 320), (500, 640), (1280, 1280), (99999, 1280)])
def test_pictures_are_as_wide_as_they_are_shown(site: Site, asked: int, given: int) -> None:
    with connect(site.socket("live/street")) as viewer:
        _, jpeg = answer(viewer, asked)
    assert decoded(jpeg).shape[1] == given


def test_a_slow_viewer_gets_the_newest_picture_and_slows_nobody(site: Site) -> None:
    """Times are read from the pictures themselves."""
    with connect(site.socket("live/street")) as slow, connect(site.socket("live/street")) as quick:
        times = []
        for turn in range(30):
            if turn % 10 == 0:
                _, seldom = answer(slow, 640)
            _, often = answer(quick, 640)
            times.append(burnt_clock.read(decoded(often)))
        assert times == sorted(times)
        assert abs(burnt_clock.read(decoded(seldom)) - times[20]) < 0.5
        assert times[-1] - times[0] < 30  # thirty pictures: nobody waited for the slow one


@pytest.mark.parametrize("nonsense", ["", "0", "-1", "640.0", "x" * 1000, "999999", b"\xff\x00"])
def test_what_is_no_width_ends_the_line(site: Site, nonsense: str | bytes) -> None:
    with connect(site.socket("live/door")) as viewer:
        viewer.send(nonsense)
        with pytest.raises(ConnectionClosed) as caught:
            viewer.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008


def test_an_unknown_camera_is_refused(site: Site) -> None:
    with pytest.raises(InvalidStatus):
        connect(site.socket("live/cellar"))


def test_a_camera_is_large_when_chosen_and_goes_back_with_escape(page: Page) -> None:
    view = enlarge(page, "door")
    expect(camera(page, "street")).to_be_hidden()
    wait_until_it_moves(view)
    expect(view.locator(".aw-status")).to_have_text(
        re.compile(r"live · \d+\.\d pictures/s · \d+\.\d predictions/s · newest prediction \d+ ms")
    )
    page.keyboard.press("Escape")
    expect(camera(page, "street")).to_be_visible()
    expect(page.get_by_role("button", name="Show door large")).to_be_focused()
    page.keyboard.press("Enter")
    expect(camera(page, "street")).to_be_hidden()
    page.get_by_role("button", name="All cameras").click()
    expect(camera(page, "street")).to_be_visible()


def test_a_small_picture_is_sent_small(page: Page) -> None:
    canvas = camera(page, "street").get_by_role("img")
    wait_until_it_moves(camera(page, "street"))
    assert canvas.evaluate("canvas => canvas.width") <= 640  # not 1600
    enlarge(page, "street")
    wait_for(lambda: canvas.evaluate("canvas => canvas.width") > 640)


def test_zones_are_outlined_and_the_label_is_said(page: Page) -> None:
    view = enlarge(page, "door")
    # On the left edge of the zone, in the middle of its height: white on a dark border.
    outline = """over => {
        const context = over.getContext("2d");
        const [x, y] = [Math.round(over.width * 0.25), Math.round(over.height / 2)];
        return [...context.getImageData(x, y, 1, 1).data].slice(0, 3).join();
    }"""
    over = view.locator(".aw-over")
    wait_for(lambda: over.evaluate(outline) in ("255,255,255", "248,113,113"))
    expect(page.locator("aw-live [role=status]")).to_have_text(re.compile(r"door, gate: \w+"))


# Draws two zones side by side, and what is seen in them; gives what was written, and where.
_TWO_ZONES = """async ([width, height, events]) => {
    const { drawOver } = await import("/ui/live_drawing.js");
    const context = new OffscreenCanvas(width, height).getContext("2d");
    const written = [], { roundRect, fillText } = context;
    context.roundRect = (left, top, wide, tall, round) => {
        written.push({ left, top, right: left + wide, bottom: top + tall });
        return roundRect.call(context, left, top, wide, tall, round);
    };
    context.fillText = (text, x, y) => {
        written.at(-1).text = text;
        return fillText.call(context, text, x, y);
    };
    const square = (left, right) => [[left, 0.02], [right, 0.02], [right, 0.9], [left, 0.9]];
    drawOver(context, width, height, {
        state: "live", waiting: "",
        zones: [
            { name: "gate", points: square(0.05, 0.5) },
            { name: "path", points: square(0.4, 0.95) },
            { name: "the whole of the yard", points: square(0, 1) },
        ],
        labels: [["gate", "approaching slowly", 0.87], ["path", "recede", 0.5]],
        events: events.map((label) => ({ zone: "path", label, seconds: 3.2 })),
    }, 13, true);
    return written;
}"""


@pytest.mark.parametrize(
    ("width", "events"), [(358, []), (270, ["recede"]), (200, ["recede", "approaching slowly"])]
)
def test_names_of_zones_meet_neither_one_another_nor_the_events(
    page: Page, width: int, events: list[str]
) -> None:
    written = page.evaluate(_TWO_ZONES, [width, width * 3 // 4, events])
    assert len(written) == 3 + len(events)
    for index, one in enumerate(written):
        assert one["left"] >= 0
        assert one["right"] <= width
        for other in written[:index]:
            beside = one["right"] <= other["left"] or other["right"] <= one["left"]
            assert beside or one["bottom"] <= other["top"] or other["bottom"] <= one["top"]
    gate = written[0]
    assert gate["right"] - gate["left"] <= max(width * 0.45, 5 * 13) + 0.01
    assert gate["text"].startswith("gate: ap") or width < 270


def test_paused_it_asks_for_nothing_more(page: Page, site: Site) -> None:
    page.add_init_script(_COUNTING)
    page.reload()
    view = enlarge(page, "door")
    wait_until_it_moves(view)
    page.get_by_role("button", name="Pause").click()
    expect(view.get_by_text("paused since")).to_be_visible()
    shown = view.get_by_role("img").evaluate("canvas => canvas.toDataURL()")
    asks_for_nothing(page, site)
    assert view.get_by_role("img").evaluate("canvas => canvas.toDataURL()") == shown
    page.get_by_role("button", name="Go on").click()
    expect(view.get_by_text("paused since")).to_be_hidden()
    wait_until_it_moves(view)


def test_other_tabs_ask_for_nothing(page: Page, site: Site) -> None:
    page.add_init_script(_COUNTING)
    page.reload()
    wait_until_it_moves(camera(page, "door"))
    open_tab(page, "Timeline")
    expect(page.locator("aw-timeline .aw-chart")).to_be_visible()
    asks_for_nothing(page, site)


@pytest.mark.parametrize("labels", [True, False])
def test_a_snapshot_is_a_picture_with_the_cameras_name(
    page: Page, tmp_path: Path, labels: bool
) -> None:
    wait_until_it_moves(enlarge(page, "door"))
    page.get_by_label("with labels").set_checked(labels)
    with page.expect_download() as download:
        page.get_by_role("button", name="Snapshot").click()
    name = download.value.suggested_filename
    assert re.fullmatch(r"door \d{4}-\d\d-\d\d \d\d-\d\d-\d\d\.jpg", name)
    download.value.save_as(tmp_path / name)
    picture = decoded((tmp_path / name).read_bytes())
    assert picture.shape[1] <= 640
    # Inside of the zone's name, there is next to nothing but its dark ground and white letters.
    height, width = picture.shape[:2]
    corner = picture[height // 4 + 2 : height // 4 + 14, width // 4 + 2 : width // 4 + 8]
    # Dark or, while an event goes on, red: without green in either case.
    assert (corner[..., 1].mean() < 90) == labels


def test_latency_is_told_stage_by_stage(page: Page) -> None:
    enlarge(page, "door")
    page.get_by_text("How old is what I see?").click()
    table = page.locator(".aw-latency table")
    expect(table.get_by_role("row")).to_have_count(6)  # five parts, and their heads
    expect(table).to_contain_text(re.compile(r"The model thinks\s*\d+ ms\s*\d+ ms"))
    expect(page.locator(".aw-latency p")).to_have_text(
        re.compile(r"was \d+ ms old when you saw it")
    )
    bar, whole = page.locator(".aw-latency .aw-bar").bounding_box(), table.bounding_box()
    assert bar is not None
    assert whole is not None
    assert bar["width"] == pytest.approx(whole["width"], abs=1)
    assert bar["y"] + bar["height"] <= whole["y"]


def test_a_camera_that_is_away_says_since_when(page: Page, street: HttpCamera) -> None:
    view = camera(page, "street")
    wait_until_it_moves(view)
    try:
        street.switch(on=False)
        veil = view.locator(".aw-veil")
        expect(veil).to_contain_text(re.compile(r"(offline|no new picture) since .*\d+:\d\d:\d\d"))
        since = veil.locator("time").get_attribute("datetime")
        assert since is not None
        assert since.endswith("Z")
    finally:
        street.switch(on=True)
    expect(veil).to_be_hidden()
    wait_until_it_moves(view)


def test_a_lost_connection_is_said_and_made_anew(tmp_path: Path) -> None:
    with new_page() as page:
        with start_site(tmp_path) as site:
            page.goto(site.page)
            wait_until_it_moves(camera(page, "demo"))
        veil = camera(page, "demo").locator(".aw-veil")
        expect(veil).to_contain_text("no connection to Actionwatch since")
        with start_site(tmp_path, "--port", site.host.partition(":")[2]):
            expect(veil).to_be_hidden()
            wait_until_it_moves(camera(page, "demo"))
