"""All tabs of the page in a real browser: readable, usable, and of this machine alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser import new_page, open_tab
from tests.site import Site, start_site

TABS = ("Live", "Timeline", "Events", "Tuning", "Try it", "Health", "Configuration")
_SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run of the demo that has logged something."""
    with start_site(tmp_path_factory.mktemp("site")) as site:
        with new_page() as page:
            page.goto(site.page)
            open_tab(page, "Events")
            row = page.locator("aw-events tbody tr").first
            expect(row).to_contain_text(re.compile("wave|approach|recede|move"), timeout=60_000)
        yield site


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desk", "phone"])
def test_every_tab_can_be_used_by_everybody(site: Site, size: tuple[int, int], dark: bool) -> None:
    """Nothing that axe-core calls serious, and nothing that is wider than the window."""
    width, height = size
    with new_page(width=width, height=height, dark=dark) as page:
        page.goto(site.page)
        for label in TABS:
            open_tab(page, label)
            page.wait_for_load_state("networkidle")
            found = Axe().run(page).response["violations"]
            serious = [
                f"{label}: {one['id']}: {one['nodes'][0]['html'][:200]}"
                for one in found
                if one["impact"] in _SERIOUS
            ]
            assert serious == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width, label


def test_no_request_leaves_the_machine_and_none_is_refused(site: Site) -> None:
    outside: list[str] = []
    refused: list[str] = []
    with new_page() as page:
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
            lambda answer: refused.append(answer.url) if answer.status >= 400 else None,
        )
        page.on(
            "console",
            lambda said: refused.append(said.text) if said.type == "error" else None,
        )
        page.goto(site.page)
        for label in TABS:
            open_tab(page, label)
            page.wait_for_load_state("networkidle")
    assert (outside, refused) == ([], [])
