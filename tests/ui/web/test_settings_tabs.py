"""The tabs Tuning, Health and Configuration in a real browser."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import new_page, open_tab
from tests.site import ROOT, Site, start_site
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("settings") / "config.yaml"
    file.write_text((ROOT / "configs" / "demo.yaml").read_text())
    return file


@pytest.fixture(scope="module")
def site(file: Path) -> Iterator[Site]:
    with start_site(file.parent, config=file) as site:
        wait_for(lambda: len(get(site, "api/events")["events"]) >= 2, timeout_s=120)
        yield site


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    with new_page(browser=browser) as page:
        page.goto(site.page)
        yield page


def get(site: Site, path: str) -> Any:
    with urllib.request.urlopen(site.url(path), timeout=30) as response:
        return json.load(response)


def assert_accessible(page: Page, element: str) -> None:
    violations = Axe().run(page, context=element).response["violations"]
    serious = [one for one in violations if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []


def move_slider(page: Page, name: str, value: float) -> None:
    slider = page.get_by_role("slider", name=name, exact=True)
    slider.evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        value,
    )


def test_sliders_preview_a_policy_that_is_saved_and_applied(
    page: Page, site: Site, file: Path
) -> None:
    open_tab(page, "Tuning")
    summary = page.locator(".aw-tuning-summary")
    expect(summary).to_contain_text(re.compile(r"^[1-9]\d* events? with these thresholds"))
    page.get_by_role("combobox", name="Period").select_option("Last day")
    move_slider(page, "Min. duration", 10)
    expect(summary).to_contain_text(re.compile(r"^0 events with .* 0 added, [1-9]\d* removed"))
    # Nothing changes until it is saved.
    assert get(site, "api/tuning")["policy"]["min_duration"] == 0.5
    page.get_by_role("button", name="Reset to current").click()
    expect(summary).to_contain_text(re.compile(r"^[1-9]\d* events? with these thresholds"))

    before = file.read_text()
    move_slider(page, "Threshold", 0.3)
    expect(page.get_by_role("spinbutton", name="Release threshold")).to_have_value("0.3")
    page.get_by_role("checkbox", name="recede").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved to config.yaml and applied.")).to_be_visible()
    policy = get(site, "api/tuning")["policy"]
    assert (policy["threshold"], policy["release_threshold"]) == (0.3, 0.3)
    assert policy["exclude"] == ["recede"]
    saved = "events:\n  threshold: 0.3\n  release_threshold: 0.3\n  exclude: [recede]\n"
    assert file.read_text() == before + saved
    assert before in [backup.read_text() for backup in file.parent.glob("config.yaml.bak-*")]
    assert_accessible(page, "aw-tuning")


def test_summary_counts_add_up_and_times_are_local(page: Page, site: Site) -> None:
    def truncated(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"truncated_at": 1_767_225_600})

    open_tab(page, "Tuning")
    page.get_by_role("combobox", name="Period").select_option("Last day")
    summary = page.locator(".aw-tuning-summary")
    expect(summary).to_contain_text(re.compile(r"[1-9]\d* in the log"))
    whole, parts = re.split(r" in the log: ", summary.inner_text())
    logged = int(whole.split()[-1])
    counts = [int(count) for count in re.findall(r"\d+", parts)]
    assert sum(counts[1:]) == logged  # the first count is of added events, which are not in the log

    page.route("**/api/tuning", truncated)
    page.get_by_role("button", name="Refresh").click()
    note = page.locator("aw-tuning time")
    expect(note).to_have_attribute("datetime", "2026-01-01T00:00:00.000Z")
    local = page.evaluate("new Date(1767225600000).toLocaleTimeString([], {timeStyle: 'medium'})")
    expect(note).to_contain_text(local)


def test_thresholds_can_be_overridden_for_one_label(page: Page) -> None:
    open_tab(page, "Tuning")
    choice = page.get_by_role("combobox", name="Thresholds for")
    choice.select_option("wave")
    move_slider(page, "Threshold", 0.95)
    expect(page.get_by_role("slider", name="Smoothing")).to_be_disabled()
    choice.select_option("all labels")
    expect(page.get_by_role("spinbutton", name=re.compile("^Threshold"))).not_to_have_value("0.95")
    choice.select_option("wave")
    expect(page.get_by_role("spinbutton", name=re.compile("^Threshold"))).to_have_value("0.95")
    page.get_by_role("button", name="Use default").click()
    expect(page.get_by_role("spinbutton", name=re.compile("^Threshold"))).not_to_have_value("0.95")


def test_health_starts_with_the_overall_status(page: Page, site: Site) -> None:
    open_tab(page, "Health")
    tab = page.locator("aw-health")
    expect(tab.get_by_role("heading", name="Healthy")).to_be_visible()
    expect(tab.get_by_role("row", name=re.compile(r"^demo live"))).to_be_visible()
    expect(tab.get_by_text(re.compile(r"^[\d.]+ GB of [\d.]+ GB$"))).to_be_visible()
    assert_accessible(page, "aw-health")


def test_invalid_text_is_rejected_and_valid_text_adds_a_camera(
    page: Page, site: Site, file: Path
) -> None:
    open_tab(page, "Configuration")
    text = page.get_by_role("textbox", name="Configuration file")
    before = file.read_text()
    expect(text).to_have_value(before)
    text.fill(before + "speed: 3\n")
    page.get_by_role("button", name="Save and apply").click()
    expect(page.locator("aw-configuration").get_by_role("alert")).to_contain_text("unknown key")
    assert file.read_text() == before

    text.fill(before.replace("cameras:\n", 'cameras:\n  door: {source: "demo:5"}\n'))
    page.get_by_role("button", name="Check").click()
    result = page.locator("aw-configuration").get_by_role("status")
    expect(result).to_contain_text("cameras.door added")
    assert [camera["name"] for camera in get(site, "api/cameras")] == ["demo"]
    page.get_by_role("button", name="Save and apply").click()
    expect(result).to_contain_text("Saved.")
    assert sorted(camera["name"] for camera in get(site, "api/cameras")) == ["demo", "door"]

    file.write_text(before)  # edited on disk meanwhile
    text.fill(before + "# mine\n")
    page.get_by_role("button", name="Save and apply").click()
    expect(page.locator("aw-configuration").get_by_role("alert")).to_contain_text("has changed")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Reload file").click()
    expect(result).to_contain_text("cameras.door removed")
    expect(text).to_have_value(before)
    assert_accessible(page, "aw-configuration")


def test_page_loaded_without_a_server_recovers(page: Page, site: Site) -> None:
    page.route("**/api/me", lambda route: route.abort())
    page.reload()
    open_tab(page, "Configuration")
    error = page.locator("aw-configuration").get_by_role("alert")
    expect(error).to_have_text("No connection to Actionwatch.")
    page.unroute("**/api/me")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("textbox", name="Configuration file")).to_be_visible()
    expect(page.locator("aw-heading")).to_contain_text("model motion")
