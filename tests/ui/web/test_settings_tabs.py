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
from playwright.sync_api import Page, Route, expect

from tests.browser import new_page, open_tab
from tests.site import ROOT, Site, start_site
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("settings") / "watch.yaml"
    file.write_text((ROOT / "configs" / "demo.yaml").read_text())
    return file


@pytest.fixture(scope="module")
def site(file: Path) -> Iterator[Site]:
    with start_site(file.parent, config=file) as site:
        wait_for(lambda: len(asked(site, "api/events")["events"]) >= 2, within_s=120)
        yield site


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with new_page() as page:
        page.goto(site.page)
        yield page


def asked(site: Site, path: str) -> Any:
    with urllib.request.urlopen(site.url(path), timeout=30) as answer:
        return json.load(answer)


def finds_nothing_serious(page: Page, part: str) -> None:
    found = Axe().run(page, context=part).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in grave] == []


def turn(page: Page, name: str, value: float) -> None:
    slider = page.get_by_role("slider", name=name)
    slider.evaluate(
        "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", value
    )


def test_a_slider_shows_at_once_what_would_be_logged_and_saving_it_lets_it_hold(
    page: Page, site: Site, file: Path
) -> None:
    open_tab(page, "Tuning")
    said = page.locator(".aw-tuning-said")
    expect(said).to_contain_text(re.compile(r"^[1-9]\d* events? with these thresholds"))
    page.get_by_role("combobox", name="Time").select_option("Last day")
    turn(page, "Shortest", 10)
    expect(said).to_contain_text(re.compile(r"^0 events with .* 0 new, [1-9]\d* gone"))
    assert (
        asked(site, "api/tuning")["policy"]["minimum"] == 0.5
    )  # nothing changes until it is saved
    page.get_by_role("button", name="Back to what is in force").click()
    expect(said).to_contain_text(re.compile(r"^[1-9]\d* events? with these thresholds"))

    before = file.read_text()
    turn(page, "Begins at", 0.3)
    expect(page.get_by_role("spinbutton", name="Ends below")).to_have_value("0.3")  # pushed along
    page.get_by_role("checkbox", name="recede").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved in watch.yaml, and in force from now on.")).to_be_visible()
    policy = asked(site, "api/tuning")["policy"]
    assert (policy["enter"], policy["leave"], policy["ignore"]) == (0.3, 0.3, ["recede"])
    assert file.read_text() == before + "events:\n  enter: 0.3\n  leave: 0.3\n  ignore: [recede]\n"
    assert before in [one.read_text() for one in file.parent.glob("watch.yaml.bak-*")]
    finds_nothing_serious(page, "aw-tuning")


def test_what_is_said_of_the_log_adds_up_and_is_in_the_viewers_time(page: Page, site: Site) -> None:
    def as_of_a_long_time(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"cut_at": 1_767_225_600})

    open_tab(page, "Tuning")
    page.get_by_role("combobox", name="Time").select_option("Last day")
    said = page.locator(".aw-tuning-said")
    expect(said).to_contain_text(re.compile(r"[1-9]\d* in the log"))
    whole, parts = re.split(r" in the log: ", said.inner_text())
    logged = int(whole.split()[-1])
    counts = [int(count) for count in re.findall(r"\d+", parts)]
    assert sum(counts[1:]) == logged  # the first are new, and in no log

    page.route("**/api/tuning", as_of_a_long_time)
    page.get_by_role("button", name="Newest").click()
    note = page.locator("aw-tuning time")
    expect(note).to_have_attribute("datetime", "2026-01-01T00:00:00.000Z")
    local = page.evaluate("new Date(1767225600000).toLocaleTimeString([], {timeStyle: 'medium'})")
    expect(note).to_contain_text(local)


def test_one_label_may_have_thresholds_of_its_own(page: Page) -> None:
    open_tab(page, "Tuning")
    choice = page.get_by_role("combobox", name="Thresholds of")
    choice.select_option("wave")
    turn(page, "Begins at", 0.95)
    expect(page.get_by_role("slider", name="Smoothing")).to_be_disabled()
    choice.select_option("all labels")
    expect(page.get_by_role("spinbutton", name="Begins at")).not_to_have_value("0.95")
    choice.select_option("wave")
    expect(page.get_by_role("spinbutton", name="Begins at")).to_have_value("0.95")
    page.get_by_role("button", name="As for all labels").click()
    expect(page.get_by_role("spinbutton", name="Begins at")).not_to_have_value("0.95")


def test_health_says_first_whether_all_is_well(page: Page, site: Site) -> None:
    open_tab(page, "Health")
    tab = page.locator("aw-health")
    expect(tab.get_by_role("heading", name="All is well")).to_be_visible()
    expect(tab.get_by_role("row", name=re.compile(r"^demo live"))).to_be_visible()
    expect(tab.get_by_text(re.compile(r"^[\d.]+ GB of [\d.]+ GB$"))).to_be_visible()
    finds_nothing_serious(page, "aw-health")


def test_a_bad_text_is_refused_and_a_good_one_adds_a_camera(
    page: Page, site: Site, file: Path
) -> None:
    open_tab(page, "Configuration")
    text = page.get_by_role("textbox", name="Text of the file")
    before = file.read_text()
    expect(text).to_have_value(before)
    text.fill(before + "speed: 3\n")
    page.get_by_role("button", name="Save and apply").click()
    expect(page.locator("aw-configuration").get_by_role("alert")).to_contain_text("unknown key")
    assert file.read_text() == before

    text.fill(before.replace("cameras:\n", 'cameras:\n  door: {source: "demo:5"}\n'))
    page.get_by_role("button", name="Check").click()
    told = page.locator("aw-configuration").get_by_role("status")
    expect(told).to_contain_text("cameras.door added")
    assert [one["name"] for one in asked(site, "api/cameras")] == ["demo"]
    page.get_by_role("button", name="Save and apply").click()
    expect(told).to_contain_text("Saved.")
    assert sorted(one["name"] for one in asked(site, "api/cameras")) == ["demo", "door"]

    file.write_text(before)  # somebody edits it on the disk
    text.fill(before + "# mine\n")
    page.get_by_role("button", name="Save and apply").click()
    expect(page.locator("aw-configuration").get_by_role("alert")).to_contain_text("somebody else")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Read the file again").click()
    expect(told).to_contain_text("cameras.door removed")
    expect(text).to_have_value(before)
    finds_nothing_serious(page, "aw-configuration")


def test_a_page_that_was_loaded_while_the_server_was_away_gets_well(page: Page, site: Site) -> None:
    page.route("**/api/me", lambda route: route.abort())
    page.reload()
    open_tab(page, "Configuration")
    told = page.locator("aw-configuration").get_by_role("alert")
    expect(told).to_have_text("No connection to Actionwatch.")
    page.unroute("**/api/me")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("textbox", name="Text of the file")).to_be_visible()
    expect(page.locator("aw-heading")).to_contain_text("model motion")
