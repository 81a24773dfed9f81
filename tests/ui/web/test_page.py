"""All tabs of the page in a real browser: accessible, responsive, and self-hosted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser import new_page, open_tab
from tests.site import Site, start_site

TABS = ("Live", "Timeline", "Events", "Tuning", "Try it", "Health", "Configuration")
_SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    """A run of the demo with at least one event."""
    with start_site(tmp_path_factory.mktemp("site")) as site:
        with new_page(browser=browser) as page:
            page.goto(site.page)
            open_tab(page, "Events")
            row = page.locator("aw-events tbody tr").first
            expect(row).to_contain_text(re.compile("wave|approach|recede|move"))
        yield site


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desk", "phone"])
def test_every_tab_is_accessible_and_fits_the_window(
    site: Site, browser: Browser, size: tuple[int, int], dark: bool
) -> None:
    """No serious violation of axe-core, and nothing wider than the window."""
    width, height = size
    with new_page(browser=browser, width=width, height=height, dark=dark) as page:
        page.goto(site.page)
        for label in TABS:
            open_tab(page, label)
            page.wait_for_load_state("networkidle")
            violations = Axe().run(page).response["violations"]
            serious = [
                f"{label}: {one['id']}: {one['nodes'][0]['html'][:200]}"
                for one in violations
                if one["impact"] in _SERIOUS
            ]
            assert serious == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width, label


def test_no_request_leaves_the_machine_and_none_fails(site: Site, browser: Browser) -> None:
    outside: list[str] = []
    failed: list[str] = []
    with new_page(browser=browser) as page:
        page.on(
            "request",
            lambda request: (
                None
                if re.match(rf"((http|ws)://{site.host}/|data:|blob:)", request.url)
                else outside.append(request.url)
            ),
        )
        page.on(
            "response",
            lambda response: failed.append(response.url) if response.status >= 400 else None,
        )
        page.on(
            "console",
            lambda message: failed.append(message.text) if message.type == "error" else None,
        )
        page.goto(site.page)
        for label in TABS:
            open_tab(page, label)
            page.wait_for_load_state("networkidle")
    assert (outside, failed) == ([], [])
