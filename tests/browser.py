"""Debian's Chromium for tests, without its background network requests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.waiting import wait_for

PROGRAM = shutil.which("chromium")
_TIMEOUT_MS = 180_000  # on a busy machine
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=_TIMEOUT_MS)


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A new browser."""
    if PROGRAM is None:
        pytest.skip("needs Chromium: Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=[*_FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def new_page(
    *flags: str,
    browser: Browser | None = None,
    width: int = 1280,
    height: int = 800,
    dark: bool = False,
) -> Iterator[Page]:
    """A page without cookies, of `browser` or of a new one with these flags.

    Fails if a script of the page raises an error.
    """
    with ExitStack() as stack:
        context = (browser or stack.enter_context(chromium(*flags))).new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        context.close()
    assert errors == []


def open_tab(page: Page, label: str) -> None:
    """Open a tab of the dashboard; on phones, tabs that don't fit are in a menu.

    While the page is loading a tab may move away under a click: it is clicked again.
    """
    expect(page.get_by_role("tab").first).to_be_visible()
    tab = page.get_by_role("tab", name=label, exact=True)
    if tab.count() == 0:
        page.get_by_role("button", name="More tabs").click()
        page.locator(".overflow-dropdown").get_by_role("button", name=label, exact=True).click()
    else:

        def opened() -> bool:
            tab.click()
            return tab.get_attribute("aria-selected") == "true"

        wait_for(opened)
    expect(page.get_by_role("tabpanel").filter(visible=True)).to_have_count(1)
