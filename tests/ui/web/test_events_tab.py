"""The Events tab in a real browser."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from stream.sinks.event_log.event_log import EventLog
from stream.synthetic.motions import MOTIONS
from tests import event_archive
from tests.browser import new_page, open_tab
from tests.event_archive import DESK, MARKUP, PRE_ROLL_S, TRICKY, WAVE, id_of
from tests.event_samples import NASTY
from tests.site import Site, start_site
from tests.waiting import wait_for

SPARE = id_of("spare")
MOTION = re.compile("|".join(MOTIONS))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run of the demo whose log already has events."""
    folder = tmp_path_factory.mktemp("site")
    event_archive.fill(folder / "data", more=120)
    with EventLog.create(folder / "data") as log:
        log.write_updates([event_archive.event(SPARE, "sit", 90.0, 91.0, camera="attic")])
    config = folder / "config.yaml"
    config.write_text("cameras: {demo: {source: 'demo:0'}}\n")
    with start_site(folder, config=config) as site:
        yield site


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    with new_page(browser=browser) as page:
        page.goto(site.page)
        open_tab(page, "Events")
        expect(rows(page).first).to_be_visible()
        yield page


def rows(page: Page) -> Locator:
    return page.locator("aw-events tbody tr")


def row(page: Page, event_id: str) -> Locator:
    return page.locator(f'aw-events tr[data-id="{event_id}"]')


def detail(page: Page) -> Locator:
    return page.get_by_role("region", name="Event details")


def filter_door(page: Page) -> None:
    """Exclude the events that the demo logs all the time."""
    page.get_by_role("combobox", name="Camera", exact=True).select_option("door")
    expect(page.get_by_text("1 to 50 of 124")).to_be_visible()


def link_to(page: Page, site: Site, event_id: str) -> None:
    page.goto(site.url(f"#event={event_id}"))
    page.reload()  # a new hash alone does not reload the page
    expect(detail(page)).to_be_visible()


def stored(site: Site, event_id: str) -> dict:
    with urllib.request.urlopen(site.url(f"api/events/{event_id}"), timeout=60) as response:
        return json.load(response)


def test_new_events_appear_without_moving_rows_under_the_mouse(page: Page) -> None:
    expect(rows(page).first).to_contain_text(MOTION)
    rows(page).nth(2).hover()
    before = rows(page).first.get_attribute("data-id")
    more = page.get_by_role("button", name=re.compile("new event"))
    expect(more).to_be_visible(timeout=60_000)
    assert rows(page).first.get_attribute("data-id") == before
    more.click()
    expect(rows(page).first).not_to_have_attribute("data-id", str(before))
    expect(more).to_be_hidden()


def test_filters_and_pages(page: Page) -> None:
    filter_door(page)
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_text("51 to 100 of 124")).to_be_visible()
    page.get_by_role("button", name="Older").click()
    expect(rows(page)).to_have_count(24)
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_label("Label", exact=True).fill("wave")
    expect(rows(page)).to_have_count(1)
    expect(row(page, WAVE)).to_contain_text("90 %")
    page.get_by_label("Min. peak, %").fill("95")
    expect(page.get_by_text("No matching events.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("No matching events.")).to_be_hidden()
    page.get_by_label("with clip or snapshot").check()
    expect(rows(page)).to_have_count(1)


def test_time_filters_use_local_time(site: Site, browser: Browser) -> None:
    with browser.new_context(timezone_id="Asia/Kolkata") as there:
        page = there.new_page()
        page.goto(site.page)
        open_tab(page, "Events")
        local = page.evaluate(
            """iso => { const at = new Date(iso), two = n => String(n).padStart(2, "0");
            return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T` +
                   `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`; }""",
            stored(site, DESK)["start"],
        )
        page.get_by_label("From", exact=True).fill(local)
        page.get_by_role("combobox", name="Camera", exact=True).select_option("desk")
        expect(rows(page)).to_have_count(1)
        page.get_by_label("From", exact=True).fill("")
        page.get_by_label("Until", exact=True).fill(local)
        expect(page.get_by_text("No matching events.")).to_be_visible()


def test_clip_starts_with_the_pre_roll_and_jumps_to_the_event(page: Page) -> None:
    filter_door(page)
    page.get_by_label("Label", exact=True).fill("wave")
    row(page, WAVE).click()
    video = detail(page).locator("video")
    wait_for(lambda: (video.evaluate("video => video.duration") or 0) > 7)
    assert video.get_attribute("poster").endswith(f"/media/snapshots/{WAVE}.jpg")  # type: ignore[union-attr]
    assert video.evaluate("video => video.currentTime") == 0
    expect(detail(page)).to_contain_text("Event from 2.0 to 6.0 s")
    snapshot = detail(page).get_by_role("img")
    assert snapshot.evaluate("image => image.naturalWidth") > 0
    detail(page).get_by_role("button", name="Jump to event").click()
    wait_for(lambda: video.evaluate("video => video.currentTime") >= PRE_ROLL_S)


def test_review_is_saved_and_undone(page: Page, site: Site) -> None:
    link_to(page, site, id_of("other 5"))
    event_id = id_of("other 5")
    event_detail = detail(page)
    event_detail.get_by_role("button", name="Confirm").click()
    expect(event_detail.get_by_role("button", name="Confirm")).to_have_attribute(
        "aria-pressed", "true"
    )
    assert stored(site, event_id)["verdict"] == "confirmed"
    event_detail.get_by_role("button", name="Correct …").click()
    event_detail.get_by_label("Correct label").fill("jump <i>high</i>")
    event_detail.get_by_role("button", name="Save", exact=True).click()
    expect(event_detail.get_by_role("heading")).to_contain_text("jump <i>high</i>")
    event_detail.get_by_label("Note", exact=True).fill("looked twice")
    event_detail.get_by_role("button", name="Save note").click()
    expect(event_detail).to_contain_text("Saved.")
    event = stored(site, event_id)
    assert (event["verdict"], event["corrected"], event["note"]) == (
        "corrected",
        "jump <i>high</i>",
        "looked twice",
    )
    event_detail.get_by_role("button", name="Undo review").click()
    expect(event_detail.get_by_role("button", name="Undo review")).to_be_hidden()
    event = stored(site, event_id)
    assert (event["verdict"], event["label"]) == ("", "act 5")


def test_reviews_appear_on_other_pages(page: Page, site: Site, browser: Browser) -> None:
    event_id = id_of("other 119")
    filter_door(page)
    expect(row(page, event_id)).to_contain_text("unreviewed")
    with new_page(browser=browser) as other:
        link_to(other, site, event_id)
        detail(other).get_by_role("button", name="Reject").click()
        expect(detail(other)).to_contain_text("Rejected")
    expect(row(page, event_id)).to_contain_text("rejected")
    page.reload()
    open_tab(page, "Events")
    filter_door(page)
    expect(row(page, event_id)).to_contain_text("rejected")


def test_delete_asks_for_confirmation(page: Page, site: Site) -> None:
    link_to(page, site, SPARE)
    event_detail = detail(page)
    event_detail.get_by_role("button", name="Delete …").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert stored(site, SPARE)["id"] == SPARE
    event_detail.get_by_role("button", name="Delete …").click()
    with page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    assert deleted.value.status == 204
    expect(event_detail).to_be_hidden()
    link_to(page, site, SPARE)
    expect(detail(page)).to_contain_text("no longer in the log")


def test_labels_are_not_rendered_as_markup(page: Page, site: Site) -> None:
    page.get_by_role("combobox", name="Camera", exact=True).select_option("door/gate")
    expect(rows(page)).to_have_count(1)
    expect(row(page, MARKUP)).to_contain_text(event_archive.EVIL)
    row(page, MARKUP).click()
    expect(detail(page).get_by_role("heading")).to_have_text(event_archive.EVIL)
    link_to(page, site, TRICKY)
    expect(detail(page).get_by_role("heading")).to_have_text(" ".join(NASTY.split()))
    assert page.title() == "Actionwatch"
    assert page.locator("aw-events b").count() == 0


def test_export_downloads_the_filtered_events(page: Page) -> None:
    page.get_by_role("combobox", name="Camera", exact=True).select_option("desk")
    expect(rows(page)).to_have_count(1)
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Spreadsheet (CSV)").click()
    assert download.value.suggested_filename == "actionwatch-events.csv"
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", DESK]


def test_events_are_selected_by_keyboard(page: Page) -> None:
    filter_door(page)
    rows(page).first.get_by_role("button").focus()
    page.keyboard.press("ArrowDown")
    second = rows(page).nth(1)
    expect(second.get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(detail(page)).to_be_visible()
    assert page.url.endswith(f"#event={second.get_attribute('data-id')}")
    detail(page).get_by_role("button", name="Close").focus()
    page.keyboard.press("Escape")
    expect(detail(page)).to_be_hidden()
    expect(second.get_by_role("button")).to_be_focused()


def test_phones_show_either_the_list_or_the_event(site: Site, browser: Browser) -> None:
    with new_page(browser=browser, width=390, height=844) as page:
        link_to(page, site, WAVE)
        expect(rows(page).first).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        detail(page).get_by_role("button", name="Close").click()
        expect(rows(page).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
