"""The Timeline tab in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests import event_archive
from tests.browser import new_page, open_tab
from tests.event_archive import EVIL, MARKUP, START_UTC, WAVE
from tests.site import IDLE_CAMERA, Site, start_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run whose log already has many events."""
    folder = tmp_path_factory.mktemp("site")
    event_archive.fill(folder / "data", more=3000)
    config = folder / "config.yaml"
    config.write_text(f"cameras: {{demo: {IDLE_CAMERA}}}\n")
    with start_site(folder, config=config) as site:
        yield site


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    with new_page(browser=browser) as page:
        open_timeline(page, site)
        yield page


def open_page(page: Page, site: Site) -> None:
    page.goto(site.page)
    open_tab(page, "Timeline")


def open_timeline(page: Page, site: Site) -> None:
    open_page(page, site)
    day = page.get_by_label("Day", exact=True)
    if day.input_value() != f"{START_UTC:%Y-%m-%d}":  # midnight has passed since
        day.fill(f"{START_UTC:%Y-%m-%d}")
    expect(lane(page, "door/gate").get_by_role("button")).to_be_visible()


def lane(page: Page, camera: str) -> Locator:
    return page.get_by_role("group", name=camera, exact=True)


def chart(page: Page) -> Locator:
    return page.get_by_role("group", name=re.compile("^Chart of events"))


def first_tick(page: Page) -> str:
    return page.locator(".aw-tick span").first.inner_text()


def test_every_camera_has_a_lane_with_its_events(page: Page) -> None:
    for camera in ("door", "door/gate", "desk"):
        expect(lane(page, camera)).to_be_visible()
    expect(lane(page, "door/gate").get_by_role("button")).to_have_count(1)
    # Three thousand events are drawn as fewer blocks with their counts.
    assert lane(page, "door").get_by_role("button").count() < 500
    expect(
        lane(page, "door").get_by_role("button", name=re.compile(r"door: \d+ events"))
    ).not_to_have_count(0)


def test_bar_opens_its_event(page: Page) -> None:
    bar = lane(page, "door/gate").get_by_role("button")
    bar.hover()
    expect(page.get_by_role("tooltip")).to_contain_text(EVIL)
    bar.click()
    expect(page.get_by_role("region", name="Event details")).to_contain_text(EVIL)
    assert page.url.endswith(f"#event={MARKUP}")


def test_clicking_blocks_zooms_to_single_events(page: Page) -> None:
    single = lane(page, "door").get_by_role("button", name=re.compile("^door: act"))
    for _ in range(8):
        if single.count():
            break
        blocks = lane(page, "door").get_by_role("button", name=re.compile(r"door: \d+ events"))
        before = page.locator(".aw-axis").inner_text()
        blocks.nth(blocks.count() // 2).click()
        expect(page.locator(".aw-axis")).not_to_have_text(before, use_inner_text=True)
    single.first.click()
    expect(page.get_by_role("region", name="Event details")).to_contain_text("act")


def test_keyboard_zooms_pans_and_opens(page: Page) -> None:
    page.get_by_role("button", name="Whole day").click()
    # The chart is redrawn asynchronously.
    expect(page.locator(".aw-tick span").first).to_have_text("12:00 AM")
    expect(page.locator(".aw-tick span").last).to_have_text(re.compile("PM$"))
    chart(page).focus()
    whole = page.locator(".aw-tick").count()
    for _ in range(4):
        page.keyboard.press("+")
    expect(page.locator(".aw-tick span").first).not_to_have_text("12:00 AM")
    before = first_tick(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".aw-tick span").first).not_to_have_text(before)
    page.keyboard.press("0")
    expect(page.locator(".aw-tick span").first).to_have_text("12:00 AM")
    expect(page.locator(".aw-tick")).to_have_count(whole)
    page.keyboard.press("Enter")
    expect(page.locator(".aw-bar:focus")).to_have_count(1)
    first = page.locator(".aw-bar:focus")
    page.keyboard.press("ArrowRight")
    expect(first).to_have_count(1)
    for _ in range(14):  # until the bar is a single event
        page.keyboard.press("+")
    expect(first).to_have_attribute("aria-label", re.compile(" at "))
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Event details")).to_be_visible()


def test_wheel_zooms_and_dragging_pans(page: Page) -> None:
    page.get_by_role("button", name="Whole day").click()
    box = chart(page).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] - 8
    page.mouse.move(x, y)
    for _ in range(6):
        page.mouse.wheel(0, -300)
    expect(page.locator(".aw-tick span").first).not_to_have_text("12:00 AM")
    before = first_tick(page)
    page.mouse.down()
    page.mouse.move(x + 300, y, steps=5)
    page.mouse.up()
    expect(page.locator(".aw-tick span").first).not_to_have_text(before)
    expect(page.get_by_role("tab", name="Timeline")).to_have_attribute("aria-selected", "true")


def test_previous_and_next_day(page: Page) -> None:
    page.get_by_role("button", name="Previous day").click()
    expect(page.locator("aw-timeline .aw-bar")).to_have_count(0)
    expect(page.locator("aw-timeline")).to_contain_text("No events")
    page.get_by_role("button", name="Next day").click()
    expect(page.locator("aw-timeline .aw-bar").first).to_be_visible()


def test_another_day_shows_no_events_of_the_day_before(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/timeline?*", lambda route: held.append(route))
    page.get_by_role("button", name="Previous day").click()
    bars, status = page.locator("aw-timeline .aw-bar"), page.locator("aw-timeline [role=status]")
    expect(bars).to_have_count(0)
    expect(status).to_have_text("Loading events …")
    for route in held:
        route.continue_()
    expect(status).to_contain_text("No events")
    expect(bars).to_have_count(0)


def test_today_moves_on_at_midnight_but_another_day_stays(site: Site, browser: Browser) -> None:
    today = datetime.now().replace(hour=23, minute=59, second=50, microsecond=0)
    tomorrow = today + timedelta(days=1)
    with new_page(browser=browser) as page:
        page.clock.set_fixed_time(today)
        open_page(page, site)
        day, later = page.get_by_label("Day", exact=True), page.get_by_role("button", name="Next")
        expect(day).to_have_value(f"{today:%Y-%m-%d}")
        expect(later).to_be_disabled()
        page.clock.set_fixed_time(today + timedelta(seconds=20))
        expect(day).to_have_value(f"{tomorrow:%Y-%m-%d}")
        expect(later).to_be_disabled()

        day.fill(f"{today:%Y-%m-%d}")
        expect(later).to_be_enabled()
        day.fill(f"{tomorrow + timedelta(days=1):%Y-%m-%d}")
        expect(later).to_be_disabled()
        page.clock.set_fixed_time(today + timedelta(days=3))
        expect(later).to_be_enabled()
        expect(day).to_have_value(f"{tomorrow + timedelta(days=1):%Y-%m-%d}")


def test_events_are_shown_as_a_table(page: Page) -> None:
    page.get_by_text("Show as table").click()
    table = page.locator(".aw-timeline-table table")
    expect(table.get_by_role("row").nth(1)).to_contain_text("wave")
    expect(table).to_contain_text("more; zoom in to see them")
    table.get_by_role("row").nth(1).get_by_role("button").click()
    assert page.url.endswith(f"#event={WAVE}")


def test_legend_highlights_a_label(page: Page) -> None:
    key = page.get_by_role("button", name="jump", exact=True)
    key.click()
    expect(key).to_have_attribute("aria-pressed", "true")
    expect(lane(page, "door/gate").get_by_role("button")).to_have_class(re.compile("aw-dim"))


def test_timeline_fits_a_phone(site: Site, browser: Browser) -> None:
    with new_page(browser=browser, width=390, height=844) as page:
        open_timeline(page, site)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(lane(page, "door")).to_be_visible()


def test_thousands_of_events_are_drawn_fast(page: Page) -> None:
    """So that dragging feels immediate."""
    frame_ms = page.evaluate(
        """async () => {
        const { chart } = document.querySelector("aw-timeline");
        const frame = () => new Promise(requestAnimationFrame);
        const times = [];
        for (let step = 0; step < 20; step++) {
            chart.zoom(step % 2 ? 1.25 : 0.8);
            const startedAt = performance.now();
            await frame();
            await frame();
            times.push(performance.now() - startedAt);
        }
        return times.sort((a, b) => a - b)[10];
        }"""
    )
    assert frame_ms < 400  # for two frames, on a busy machine
